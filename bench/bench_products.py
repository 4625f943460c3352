"""Products with packed weights against NumPy on decoded ones: ``pytest bench/bench_products.py``."""

import numpy as np
import pytest

from evenbits import decode, quantize
from evenbits.products import Linear

N = 1024


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(0).standard_normal((N, N), dtype=np.float32)


@pytest.mark.parametrize("activations", ["float32", "int8"])
@pytest.mark.parametrize("columns", [1, 8, 64])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_linear(benchmark, bits, columns, activations, isa, weights):
    benchmark.group = f"{columns} columns"
    product = Linear(quantize(weights, bits, "uniform", per=32, grid="mid_rise"))
    benchmark(product, np.ones((columns, N), np.float32), activations=activations, out=np.empty((columns, N), np.float32))


@pytest.mark.parametrize("activations", ["float32", "int8"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels_of_a_table(benchmark, bits, activations, isa, weights):
    benchmark.group = "1 columns"
    product = Linear(quantize(weights, bits, "lloyd_max", per=32))
    benchmark(product, np.ones((1, N), np.float32), activations=activations, out=np.empty((1, N), np.float32))


@pytest.mark.parametrize("columns", [1, 8, 64])
@pytest.mark.parametrize("bits", [1, 2, 2.5, 4])
def test_trellises(benchmark, bits, columns, isa, weights):
    benchmark.group = f"{columns} columns"
    product = Linear(quantize(weights, bits, "trellis", memory=8, rotate=False))
    benchmark(product, np.ones((columns, N), np.float32), out=np.empty((columns, N), np.float32))


@pytest.mark.parametrize("bits", [2.5, 12])
def test_rates_that_are_decoded(benchmark, bits, weights):
    benchmark.group = "1 columns"
    benchmark(Linear(quantize(weights, bits, "uniform")), np.ones((1, N), np.float32))


def test_decode_and_multiply(benchmark, weights):
    benchmark.group = "1 columns"
    e, x = quantize(weights, 4, "uniform", per=32), np.ones((1, N), np.float32)
    benchmark(lambda: x @ decode(e).T)


@pytest.mark.parametrize("columns", [1, 8, 64])
def test_numpy_float32(benchmark, columns, weights):
    benchmark.group = f"{columns} columns"
    x, out = np.ones((columns, N), np.float32), np.empty((columns, N), np.float32)
    benchmark(np.matmul, x, weights.T, out=out)
