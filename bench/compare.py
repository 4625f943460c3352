"""evenbits beside other packages, in one run and on one thread each: ratios of the processor's time.

    python bench/compare.py [--rounds 15] [--isa avx2] [case ...]

Every case runs ours and its peers in turn, ``rounds`` times, pinned to one processor; the least CPU time of each counts, and
the ratio is peer / ours. Peers that are not installed are left out; all of them:
pip install fht-cpu faiss-cpu pyfastpfor torch turbovec rabitqlib onnxruntime onnx brevitas. NumPy is always there.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import time

from peers import CASES, Work

import evenbits
from evenbits import _core

for subject in ("hadamard", "packing", "rounding", "encode", "embedding", "products", "path_following"):
    importlib.import_module(f"peers.{subject}")
PACKAGES = ("numpy", "fht_cpu", "faiss-cpu", "pyfastpfor", "torch", "turbovec", "onnxruntime", "rabitqlib", "brevitas")


def measure(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Least nanoseconds of each, taken in turn; short works are repeated for a millisecond."""
    repeats = {}
    for name, work in works.items():
        work()
        start = time.perf_counter_ns()
        work()
        repeats[name] = max(1, 1_000_000 // max(time.perf_counter_ns() - start, 1))
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time_ns()
            for _ in range(repeats[name]):
                work()
            best[name] = min(best[name], (time.process_time_ns() - start) / repeats[name])
    return best


def pin() -> None:
    """This process to one processor, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.processor())
    except OSError:
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=[])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa", default=_core.isa())
    arguments = parser.parse_args()
    _core.use_isa(arguments.isa)
    pin()
    versions = [f"evenbits {evenbits.__version__} ({_core.isa()})"]
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    versions += [f"{name} {installed[name]}" for name in PACKAGES if name in installed]
    print(f"{processor()}; {', '.join(versions)}; least of {arguments.rounds}, ns an element\n")
    print("| work | evenbits | peer | ns | peer / evenbits |\n|---|---|---|---|---|")
    for name in arguments.cases or CASES:
        for what, elements, works in CASES[name]():
            times = measure(works, arguments.rounds)
            ours = times.pop("evenbits")
            if not times:
                print(f"| {what} | {ours / elements:.3f} | | | |", flush=True)
            for other, t in times.items():
                print(f"| {what} | {ours / elements:.3f} | {other} | {t / elements:.3f} | {t / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()
