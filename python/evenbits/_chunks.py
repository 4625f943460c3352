"""Work on the rows of a matrix a few at a time, so that memory stays bounded, on threads of the call's own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from evenbits import _core

CHUNK = 1 << 18
"""Elements worked on at a time: 1 MiB of float32, which stays in a core's second cache."""


def for_row_chunks(rows: int, length: int, workers: int, work: Callable[[int, int], None]) -> None:
    """Call work(begin, end) for consecutive spans of rows, each of about ``CHUNK`` elements or one row.

    Where the spans lie does not depend on ``workers``, and ``work`` must not depend on where they lie. Arithmetic in it
    rounds to nearest and keeps denormals, whatever the thread was set to before. The first exception of any thread ends
    the others at their next span and is raised here.
    """
    step = max(1, CHUNK // max(length, 1))
    starts = range(0, rows, step)
    workers = min(workers, len(starts))
    failures: list[BaseException] = []

    def run(first: int) -> None:
        state = _core.enter_default_float_state()
        try:
            for begin in starts[first::workers]:
                if failures:
                    return
                work(begin, min(begin + step, rows))
        except BaseException as error:
            failures.append(error)
        finally:
            _core.leave_float_state(state)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(1, workers)]
    started = 0
    try:
        for thread in threads:
            thread.start()
            started += 1
    except RuntimeError:  # no more threads to be had: the caller's does their share
        pass
    run(0)
    for i in range(started + 1, workers):
        run(i)
    for thread in threads[:started]:
        thread.join()
    if failures:
        raise failures[0]
