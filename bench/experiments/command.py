"""Run the command ``evenbits`` as users do, and measure it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any, NamedTuple


class Run(NamedTuple):
    """Wall and processor seconds from start to exit, imports included; peak resident bytes; what it printed as JSON."""

    seconds: float
    cpu: float
    peak: int
    report: Any


def run(*arguments: str, **environment: str) -> Run:
    """Run ``evenbits ARGUMENTS --json``. Raises CalledProcessError if it fails.

    A small process stands between: Linux counts the memory of whoever starts a process as that process's own peak.
    """
    command = [sys.executable, __file__, *arguments, "--json"]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
    return Run(**json.loads(done.stdout))


def _measure(arguments: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "evenbits", *arguments], stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.returncode)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": peak, "report": json.loads(done.stdout)}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1:])))
