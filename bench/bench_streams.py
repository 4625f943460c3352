"""Entropy-coded streams: ``pytest bench/bench_streams.py``. 50 MB/s of float32 are 12.5 weights a microsecond."""

import numpy as np
import pytest

from evenbits import _core
from evenbits.quantizers import DeadZone, Pruning

N = 1 << 20
X = np.random.default_rng(0).laplace(size=(1024, N // 1024)).astype(np.float32)


@pytest.mark.parametrize("scale", [0.3, 1, 8])
def test_encode_levels(benchmark, scale, isa):
    benchmark.group = f"encode levels, scale {scale}"
    benchmark.extra_info["elements"] = N
    levels, out = np.round(X * scale).astype(np.int16), np.empty(4 * N, np.uint8)
    benchmark(_core.encode_levels, levels, 1024, out)


@pytest.mark.parametrize("scale", [0.3, 1, 8])
def test_decode_levels(benchmark, scale, isa):
    benchmark.group = f"decode levels, scale {scale}"
    benchmark.extra_info["elements"] = N
    levels, out = np.round(X * scale).astype(np.int16), np.empty(4 * N, np.uint8)
    stream = out[: _core.encode_levels(levels, 1024, out)].copy()
    benchmark(_core.decode_levels, stream, 1024, levels)


@pytest.mark.parametrize("bits", [0.5, 1.66, 4])
def test_dead_zone(benchmark, bits):
    benchmark.extra_info["elements"] = N
    benchmark(DeadZone(bits).encode, X)


@pytest.mark.parametrize("schedule", ["passes", "stable"])
@pytest.mark.parametrize("sparsity", [0.9, 0.5])
def test_pruning(benchmark, schedule, sparsity):
    benchmark.extra_info["elements"] = N
    benchmark(Pruning(16, schedule=schedule, sparsity=sparsity).encode, X)


@pytest.mark.parametrize("schedule", ["passes", "stable"])
def test_decode_pruning(benchmark, schedule):
    benchmark.extra_info["elements"] = N
    encoded = Pruning(16, schedule=schedule, sparsity=0.5).encode(X)
    benchmark(encoded.decode)
