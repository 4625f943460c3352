"""Whole quantizers, encoding and decoding: ``pytest bench/bench_quantize.py``."""

import numpy as np
import pytest

import evenbits

X = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)


@pytest.mark.parametrize("bits", [1, 2, 2.5, 4])
@pytest.mark.parametrize("method", evenbits.methods())
def test_encode(benchmark, method, bits, isa):
    benchmark.group = f"encode, {method}, {bits} bits"
    benchmark(evenbits.quantize, X, bits, method)


@pytest.mark.parametrize("bits", [1, 2, 2.5, 4])
@pytest.mark.parametrize("method", evenbits.methods())
def test_decode(benchmark, method, bits, isa):
    benchmark.group = f"decode, {method}, {bits} bits"
    benchmark(evenbits.decode, evenbits.quantize(X, bits, method))
