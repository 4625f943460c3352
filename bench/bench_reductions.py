"""Sums of products, extremes and the search for NaN against NumPy: ``pytest bench/bench_reductions.py``."""

import numpy as np
import pytest

from evenbits import _core

N = 1024


@pytest.fixture(params=[1 << 16, 1 << 24], ids=["256 KiB", "64 MiB"])
def x(request):
    return np.random.default_rng(0).standard_normal((request.param // N, N), dtype=np.float32)


@pytest.mark.parametrize("group", [32, N])
def test_dot(benchmark, x, group, isa):
    benchmark.group = f"squared norms of groups of {group}, {x.nbytes >> 10} KiB"
    benchmark(_core.dot, x, x, N, group, np.empty((len(x), N // group)), 1)


def test_dot_in_numpy(benchmark, x):
    benchmark.group = f"squared norms of groups of {N}, {x.nbytes >> 10} KiB"
    benchmark(np.einsum, "ij,ij->i", x, x, dtype=np.float64)


@pytest.mark.parametrize("group", [32, N])
def test_extremes(benchmark, x, group, isa):
    benchmark.group = f"extremes of groups of {group}, {x.nbytes >> 10} KiB"
    low = np.empty((len(x), N // group), np.float32)
    benchmark(_core.extremes, x, N, group, low, low.copy(), 1)


def test_extremes_in_numpy(benchmark, x):
    benchmark.group = f"extremes of groups of {N}, {x.nbytes >> 10} KiB"
    benchmark(lambda: (x.min(axis=1), x.max(axis=1)))


def test_first_nonfinite(benchmark, x, isa):
    benchmark.group = f"search for NaN, {x.nbytes >> 10} KiB"
    benchmark(_core.first_nonfinite, x)


def test_first_nonfinite_in_numpy(benchmark, x):
    benchmark.group = f"search for NaN, {x.nbytes >> 10} KiB"
    benchmark(lambda: bool(np.isfinite(x).all()))
