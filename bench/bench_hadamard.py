"""Hadamard transforms against NumPy: ``pytest bench/bench_hadamard.py``."""

import numpy as np
import pytest

import evenbits
from evenbits.matrices import base_matrix, base_order
from evenbits.reference import transforms as reference

ELEMENTS = 1 << 16  # 256 KiB: in the second cache


@pytest.mark.parametrize("n", [64, 256, 768, 1024, 4096, 8192])
def test_rows(benchmark, n, isa):
    benchmark.group = f"rows of {n}"
    x = np.random.default_rng(0).standard_normal((ELEMENTS // n, n), dtype=np.float32)
    benchmark(evenbits.hadamard_transform, x, n**-0.5, out=np.empty_like(x))


@pytest.mark.parametrize("n", [64, 256, 768, 1024, 4096, 8192])
def test_rows_in_numpy(benchmark, n):
    benchmark.group = f"rows of {n}"
    x = np.random.default_rng(0).standard_normal((ELEMENTS // n, n), dtype=np.float32)
    benchmark(reference.hadamard_transform, x, base_matrix(base_order(n)), n**-0.5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [64, 1024, 4096])
def test_rows_of_16_bit_floats(benchmark, n, dtype, isa):
    benchmark.group = f"rows of {n}"
    kind = np.dtype(np.float16) if dtype == "float16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    x = np.random.default_rng(0).standard_normal((ELEMENTS // n, n)).astype(kind)
    benchmark(evenbits.hadamard_transform, x, n**-0.5, out=np.empty_like(x))


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("n", [256, 1024, 4096])
def test_rotations(benchmark, n, rounds, isa):
    benchmark.group = f"rows of {n}"
    x = np.random.default_rng(0).standard_normal((ELEMENTS // n, n), dtype=np.float32)
    benchmark(evenbits.randomized_hadamard, x, seed=0, rounds=rounds, out=np.empty_like(x))


@pytest.mark.parametrize("k", [16, 20, 24])
def test_one_vector(benchmark, k, isa):
    benchmark.group = f"one vector of 2^{k}"
    x = np.random.default_rng(0).standard_normal(1 << k, dtype=np.float32)
    benchmark(evenbits.hadamard_transform, x, 2 ** (-k / 2), out=x)
