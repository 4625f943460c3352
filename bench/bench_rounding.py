import numpy as np
import pytest

from evenbits import _core
from evenbits.random import random_bits
from evenbits.rounding import round_nearest, round_stochastic, round_to_bfloat16, round_to_float16

SIZES = [1 << 16, 1 << 22]
ISAS = _core.available_isas()


def numpy_stochastic(x, rng):
    y = np.floor(x * np.float32(2) + np.float32(7.5) + rng.random(x.shape, np.float32))
    return np.clip(y, 0, 15).astype(np.uint8)


def numpy_nearest(x):
    return np.clip(np.rint(x * np.float32(2) + np.float32(7.5)), 0, 15).astype(np.uint8)


def run(benchmark, isa, function, *args, elements, **options):
    benchmark.extra_info["elements"] = elements
    before = _core.isa()
    _core.use_isa(before if isa == "numpy" else isa)
    try:
        benchmark(function, *args, **options)
    finally:
        _core.use_isa(before)


@pytest.fixture(params=SIZES)
def x(request):
    return np.random.default_rng(0).standard_normal(request.param, dtype=np.float32)


@pytest.mark.parametrize("isa", [*ISAS, "numpy"])
def test_random_words(benchmark, isa):
    benchmark.group = "random words"
    if isa == "numpy":
        rng = np.random.Generator(np.random.Philox(0))
        run(benchmark, isa, rng.integers, 0, 1 << 32, 1 << 16, np.uint32, elements=1 << 16)
    else:
        run(benchmark, isa, random_bits, 0, 0, 1 << 16, bits=32, elements=1 << 16)


@pytest.mark.parametrize("isa", [*ISAS, "numpy"])
def test_round_stochastic(benchmark, isa, x):
    benchmark.group = f"stochastic n={x.size}"
    if isa == "numpy":
        run(benchmark, isa, numpy_stochastic, x, np.random.default_rng(0), elements=x.size)
    else:
        out = np.empty(x.shape, np.uint8)
        run(benchmark, isa, round_stochastic, x, scale=2, zero=7.5, top=15, seed=0, out=out, elements=x.size)


@pytest.mark.parametrize("isa", [*ISAS, "numpy"])
def test_round_nearest(benchmark, isa, x):
    benchmark.group = f"nearest n={x.size}"
    if isa == "numpy":
        run(benchmark, isa, numpy_nearest, x, elements=x.size)
    else:
        out = np.empty(x.shape, np.uint8)
        run(benchmark, isa, round_nearest, x, scale=2, zero=7.5, top=15, out=out, elements=x.size)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rounding", [round_to_bfloat16, round_to_float16])
def test_formats(benchmark, isa, rounding, x):
    benchmark.group = f"{rounding.__name__} n={x.size}"
    run(benchmark, isa, rounding, x, seed=0, elements=x.size)
