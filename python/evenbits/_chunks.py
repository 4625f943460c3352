"""Work on the rows of a matrix a few at a time, so that memory stays bounded, on threads of the call's own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from evenbits import _core
from evenbits._arrays import processors

CHUNK = 1 << 18
"""Elements worked on at a time: 1 MiB of float32, which stays in a core's second cache."""


def for_row_chunks(
    rows: int,
    length: int,
    workers: int,
    work: Callable[[int, int], None],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Call work(begin, end) for consecutive spans of rows, each of about ``CHUNK`` elements or one row.

    Where the spans lie does not depend on ``workers``, and ``work`` must not depend on where they lie. Arithmetic in it
    rounds to nearest and keeps denormals, whatever the thread was set to before. The first exception of any thread ends
    the others at their next span and is raised here. ``progress`` hears on the caller's thread how many rows are done.
    """
    step = max(1, CHUNK // max(length, 1))
    starts = deque(range(0, rows, step))  # which threads may take from at the same time
    failures: list[BaseException] = []
    done: list[None] = []  # a span each

    def run(heard: Callable[[int], None] | None = None) -> None:
        state = _core.enter_default_float_state()
        try:
            while not failures:
                try:
                    begin = starts.popleft()
                except IndexError:
                    return
                work(begin, min(begin + step, rows))
                done.append(None)
                if heard:
                    heard(min(len(done) * step, rows))
        except BaseException as error:
            failures.append(error)
        finally:
            _core.leave_float_state(state)

    threads = [threading.Thread(target=run) for _ in range(1, min(workers, len(starts), processors()))]
    started = 0
    try:
        for thread in threads:
            thread.start()
            started += 1
    except RuntimeError:  # no more threads to be had: those there are do the rest
        pass
    run(progress)
    for thread in threads[:started]:
        thread.join()
    if failures:
        raise failures[0]
    if progress and done:
        progress(rows)
