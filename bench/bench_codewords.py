"""Rows beside codewords, and bytes through tables, against NumPy."""

import numpy as np
import pytest

from evenbits.codewords import Codewords, group_sums
from evenbits.quantizers import Residual, Sparq

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [32, 384])
def test_nearest_of_256_codewords(benchmark, n):
    benchmark.group = f"1,000 rows of {n} beside 256 codewords"
    search, rows = Codewords(RNG.standard_normal((256, n))), RNG.standard_normal((1000, n)).astype(np.float32)
    benchmark(search.nearest, rows)


@pytest.mark.parametrize("n", [32, 384])
def test_nearest_by_numpy(benchmark, n):
    benchmark.group = f"1,000 rows of {n} beside 256 codewords"
    words, rows = RNG.standard_normal((2, 1000, n)).astype(np.float32)
    words = words[:256]
    half = np.sum(words * words, axis=1) / 2
    benchmark(lambda: np.argmin(half - rows @ words.T, axis=1))


def test_sums_of_ten_layers(benchmark):
    x = (RNG.standard_normal((10_000, 500)) * np.exp(-0.01 * np.arange(500))).astype(np.float32)
    code, out = Residual(0.16).encode(x), np.empty_like(x)
    benchmark(code.decode, out=out)


@pytest.mark.parametrize("pairs", [False, True])
def test_windows(benchmark, pairs):
    benchmark.group = "windows of 2^20 bytes"
    x = RNG.integers(0, 256, 1 << 20).astype(np.uint8)
    benchmark(Sparq(pairs=pairs).apply, x)


def test_windows_by_numpy(benchmark):
    benchmark.group = "windows of 2^20 bytes"
    x = RNG.integers(0, 256, 1 << 20).astype(np.uint8)
    benchmark(np.take, Sparq().narrow, x)


def test_sums_of_groups(benchmark):
    benchmark.group = "10^5 rows of 4 in 1,024 groups"
    x, group = RNG.standard_normal((100_000, 4)), RNG.integers(0, 1024, 100_000).astype(np.uint32)
    benchmark(group_sums, x, group, 1024)


def test_sums_of_groups_by_numpy(benchmark):
    benchmark.group = "10^5 rows of 4 in 1,024 groups"
    x, group = RNG.standard_normal((100_000, 4)), RNG.integers(0, 1024, 100_000)
    benchmark(lambda: [np.bincount(group, x[:, j], 1024) for j in range(4)])
