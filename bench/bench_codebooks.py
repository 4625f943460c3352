"""Nearest levels and table look-up against NumPy: ``pytest bench/bench_codebooks.py``."""

import numpy as np
import pytest

from evenbits import _core
from evenbits.codebooks import dequantize, kmeans, lloyd_max, nearest_level, thresholds

N = 1 << 20


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal(N, dtype=np.float32)


@pytest.mark.parametrize("group", [64, N])
@pytest.mark.parametrize("levels", [2, 4, 8, 16, 64, 256])
def test_nearest_level(benchmark, levels, group, isa, x):
    benchmark.group = f"nearest of {levels} levels"
    scale, codes = np.ones(N // group, np.float32), np.empty(N, np.uint8)
    benchmark(_core.nearest_level, x, N, group, scale, thresholds(lloyd_max(levels)), codes, 1)


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 64, 256])
def test_numpy_searchsorted(benchmark, levels, x):
    benchmark.group = f"nearest of {levels} levels"
    benchmark(np.searchsorted, thresholds(lloyd_max(levels)), x, "right")


def test_nearest_level_with_its_checks(benchmark, x):
    benchmark.group = "nearest of 16 levels"
    benchmark(nearest_level, x, lloyd_max(16), out=np.empty(N, np.uint8))


@pytest.mark.parametrize("group", [64, N])
@pytest.mark.parametrize("levels", [16, 256, 65536])
def test_dequantize(benchmark, levels, group, isa):
    benchmark.group = f"dequantize {levels} levels"
    codes = np.random.default_rng(0).integers(0, levels, N, np.uint8 if levels <= 256 else np.uint16)
    table = np.arange(256 if levels <= 256 else 65536, dtype=np.float32)
    scale = np.ones(N // group, np.float32)
    benchmark(_core.dequantize, codes, N, group, table, scale, scale, np.empty(N, np.float32), 1)


def test_numpy_take(benchmark):
    benchmark.group = "dequantize 16 levels"
    codes, table = np.random.default_rng(0).integers(0, 16, N, np.uint8), np.arange(16, dtype=np.float32)
    benchmark(lambda: (table[codes] - np.float32(1)) * np.float32(1))


def test_dequantize_with_its_checks(benchmark):
    benchmark.group = "dequantize 16 levels"
    codes = np.random.default_rng(0).integers(0, 16, N, np.uint8)
    benchmark(dequantize, codes, np.arange(16), scale=2, zero=8, out=np.empty(N, np.float32))


@pytest.mark.parametrize("levels", [4, 16, 256])
def test_kmeans(benchmark, levels, x):
    benchmark.group = "k-means"
    benchmark(kmeans, x, levels)


def test_numpy_sort(benchmark, x):
    benchmark.group = "k-means"
    benchmark(np.sort, x)
