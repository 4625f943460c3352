"""A progress bar with the time left, for a terminal; silence elsewhere."""

from __future__ import annotations

import shutil
import time
from typing import TextIO


class ProgressBar:
    """Call it with ``(done, total, label)``; use it as a context, which clears the line at the end."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.on = stream.isatty()
        self.start = time.monotonic()
        self.drawn = float("-inf")

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.on and self.drawn > float("-inf"):
            self._show("")

    def __call__(self, done: int, total: int, label: str) -> None:
        now = time.monotonic()
        if not self.on or (now - self.drawn < 0.1 and done < total):
            return
        self.drawn = now
        share = done / total if total else 1.0
        left = f"{_clock((now - self.start) * (1 - share) / share)} left" if share > 0 else "..."
        filled = int(24 * share)
        width = shutil.get_terminal_size().columns - 1
        self._show(f"{'█' * filled}{'░' * (24 - filled)} {100 * share:3.0f} %  {left}  {label}"[:width])

    def _show(self, text: str) -> None:
        self.stream.write(f"\r\x1b[K{text}")
        self.stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
