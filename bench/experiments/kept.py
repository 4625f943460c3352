"""Results in a file, so that an experiment that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Rows in a file of JSON, saved one by one; those that it has already are not made again."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None
        self.rows: dict[str, Any] = json.loads(self.path.read_text())["rows"] if self.path and self.path.exists() else {}

    def row(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self.rows:
            self.rows[key] = make()
            if self.path:
                machine = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
                self.path.write_text(json.dumps({"version": 1, **machine, "rows": self.rows}, indent=2))
        return self.rows[key]
