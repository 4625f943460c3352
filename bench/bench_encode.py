"""Encoding and decoding of the main method in one kernel, and step by step: ``pytest bench/bench_encode.py``.

Against faiss: ``python bench/compare.py encode``.
"""

import numpy as np
import pytest

import evenbits
from evenbits import _fused
from evenbits.spec import levels_of

X = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
BITS = [1, 2, 3, 4, 8]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("d", [128, 1000, 1024, 4096])
class TestKernel:
    """4 MiB of rows, planes made beforehand."""

    def planes(self, bits, d):
        x = X[: X.size // d * d].reshape(-1, d)
        encoded = evenbits.quantize(x, bits)
        rotated = _fused.Rotated(encoded._spec, levels_of("lloyd_max_gaussian", 1 << bits, 1 << bits))
        return rotated, x, encoded.planes["codes"], encoded.planes["scales"]

    def test_encode(self, benchmark, bits, d, isa):
        benchmark.group = f"encode rows of {d}, {bits} bits"
        rotated, x, codes, scales = self.planes(bits, d)
        assert benchmark(rotated.encode, x, "least_squares", codes, scales) == len(x)

    def test_decode(self, benchmark, bits, d, isa):
        benchmark.group = f"decode rows of {d}, {bits} bits"
        rotated, x, codes, scales = self.planes(bits, d)
        assert benchmark(rotated.decode, codes, scales, np.empty_like(x)) == len(x)


@pytest.mark.parametrize("way", ["one kernel", "step by step"])
@pytest.mark.parametrize("bits", BITS)
def test_quantize(benchmark, bits, way, monkeypatch):
    benchmark.group = f"quantize rows of 1024, {bits} bits"
    if way == "step by step":
        monkeypatch.setattr(_fused, "applies", lambda spec: False)
    benchmark(evenbits.quantize, X.reshape(-1, 1024), bits)


@pytest.mark.parametrize("way", ["one kernel", "step by step"])
@pytest.mark.parametrize("bits", BITS)
def test_decode(benchmark, bits, way, monkeypatch):
    benchmark.group = f"decode rows of 1024, {bits} bits"
    if way == "step by step":
        monkeypatch.setattr(_fused, "applies", lambda spec: False)
    benchmark(evenbits.decode, evenbits.quantize(X.reshape(-1, 1024), bits))
