import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import evenbits
from evenbits import _core
from evenbits._chunks import CHUNK, for_row_chunks
from evenbits.matrices import base_matrix

X = np.random.default_rng(0).standard_normal((1200, 512)).astype(np.float32)
"""More than two chunks, and enough for several threads of a kernel."""
CODES = np.random.default_rng(1).integers(0, 8, X.shape).astype(np.uint8)

CALLS = {
    "transform": lambda workers: evenbits.hadamard_transform(X, workers=workers),
    "small transform": lambda workers: evenbits.hadamard_transform(X[0], workers=workers),
    "odd transform": lambda workers: evenbits.hadamard_transform(X[:, :384], workers=workers),
    "rotation": lambda workers: evenbits.randomized_hadamard(X, seed=1, workers=workers),
    "embedding": lambda workers: evenbits.democratic_embedding(X[:150], redundancy=2, seed=1, workers=workers),
    "rounding": lambda workers: evenbits.round_stochastic(X, scale=2.0, zero=8.0, top=15, seed=1, workers=workers),
    "levels": lambda workers: evenbits.nearest_level(X, evenbits.lloyd_max(8), workers=workers),
    "packing": lambda workers: evenbits.pack(CODES, 3, workers=workers),
    "mixed radix": lambda workers: evenbits.pack_radix(CODES, 9, workers=workers),
    **{
        f"{method} of {bits} bits": lambda workers, method=method, bits=bits: decoded(method, bits, workers)
        for method in ("near_democratic", "uniform", "lloyd_max")
        for bits in (3, 2.5)
    },
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def decoded(method, bits, workers):
    return evenbits.decode(evenbits.quantize(X, bits, method, workers=workers), workers=workers)


def content(result):
    return b"".join(np.asarray(part).tobytes() for part in (result if isinstance(result, tuple) else (result,)))


@calls
def test_calls_at_the_same_time_give_the_bytes_of_calls_one_by_one(call):
    expected = content(call(1))
    with ThreadPoolExecutor(6) as pool:
        for result in pool.map(call, [1, 2, 3, 1, 2, 8] * 2):
            assert content(result) == expected


def test_the_instruction_set_may_change_while_calls_run():
    isas, before, stop = _core.available_isas(), _core.isa(), threading.Event()

    def change():
        while not stop.is_set():
            for isa in isas:
                _core.use_isa(isa)

    expected = [content(call(1)) for call in CALLS.values()]
    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert [content(call(2)) for call in CALLS.values()] == expected
    finally:
        stop.set()
        thread.join()
        _core.use_isa(before)


def test_threads_share_one_array_in_place():
    x = X.copy()
    rows = len(x) // 6

    def transform(i):
        part = x[i * rows : (i + 1) * rows]
        evenbits.hadamard_transform(part, out=part)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(transform, range(6)))
    np.testing.assert_array_equal(x, evenbits.hadamard_transform(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("k", [16, 17, 19])
def test_one_long_row_is_cut_among_threads_without_a_trace(isa, dtype, k, rng):
    x = (2.0**31 * rng.uniform(-1, 1, 2**k)).astype(dtype)
    x[:9000:7] = 0
    before, after = (None, None) if dtype == np.int32 else rng.standard_normal((2, x.size)).astype(dtype)
    scale = 1.0 if dtype == np.int32 else 0.3
    expected, out = np.empty_like(x), np.empty_like(x)
    _core.hadamard(x, expected, base_matrix(1), before, after, scale, 1)
    for workers in (2, 3, 4, 9):
        _core.hadamard(x, out, base_matrix(1), before, after, scale, workers)
        assert out.tobytes() == expected.tobytes()
        assert evenbits.hadamard_transform(x, workers=workers).tobytes() == evenbits.hadamard_transform(x).tobytes()
    _core.hadamard(x, x, base_matrix(1), before, after, scale, 2)
    assert x.tobytes() == expected.tobytes()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_first_number_that_is_not_finite_is_named_for_every_number_of_workers(workers):
    x = X.copy()
    x[3, 7] = np.inf
    x[1100, 0] = np.nan
    for method in ("near_democratic", "uniform"):
        with pytest.raises(ValueError, match=r"x\[3, 7\] is inf"):
            evenbits.quantize(x, 4, method, workers=workers)


def test_an_exception_of_any_thread_comes_out_and_ends_the_others():
    done = []

    def work(begin, end):
        if begin == 5:
            raise KeyError(begin)
        done.append(begin)

    with pytest.raises(KeyError):
        for_row_chunks(1000, CHUNK, 3, work)
    assert len(done) < 1000


def test_without_threads_to_be_had_the_callers_does_the_work(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    expected = content(decoded("uniform", 3, 1))
    monkeypatch.setattr(threading.Thread, "start", start)
    assert content(decoded("uniform", 3, 4)) == expected


def in_child(work):
    """What os.fork's child says of ``work``: its exit code."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


class TestForks:
    pytestmark = forks

    def test_children_work_after_calls_with_threads(self):
        expected = [content(call(2)) for call in CALLS.values()]
        assert in_child(lambda: [content(call(2)) for call in CALLS.values()] == expected) == 0
        assert [content(call(2)) for call in CALLS.values()] == expected

    def test_children_work_that_were_made_in_the_middle_of_a_call(self):
        stop = threading.Event()

        def transform():
            while not stop.is_set():
                evenbits.hadamard_transform(X, workers=2)

        expected = content(evenbits.hadamard_transform(X))
        thread = threading.Thread(target=transform)
        thread.start()
        try:
            for _ in range(5):
                assert in_child(lambda: content(evenbits.hadamard_transform(X, workers=2)) == expected) == 0
        finally:
            stop.set()
            thread.join()

    def test_a_pool_of_forked_processes_quantizes(self):
        expected = [content(decoded(method, 3, 2)) for method in ("uniform", "near_democratic")]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            made = pool.starmap(decoded, [("uniform", 3, 2), ("near_democratic", 3, 2)])
        assert [content(y) for y in made] == expected


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="takes a free-threaded Python")
def test_a_free_threaded_python_stays_free():
    check = "import evenbits, sys; assert not sys._is_gil_enabled()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    subprocess.run([sys.executable, "-W", "error", "-c", check], check=True, env=environment)
