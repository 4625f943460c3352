import numpy as np
import pytest

from evenbits import _core
from evenbits.reference.reductions import dot


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("group", [1, 7, 32, 1000])
def test_sums_equal_the_reference_bit_for_bit(isa, n, group, rng):
    x, y = (rng.standard_normal((2, 3, n)) * 10.0 ** rng.integers(-9, 9, (2, 3, n))).astype(np.float32)
    out = np.empty((3, -(-n // group)))
    _core.dot(x, y, n, group, out, 1)
    expected = [[dot(a[i : i + group], b[i : i + group]) for i in range(0, n, group)] for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("group", [1, 7, 32, 100])
def test_extremes_are_the_least_and_the_greatest(isa, n, group, rng):
    x = rng.standard_normal((3, n)).astype(np.float32)
    lo, hi = np.empty((2, 3, -(-n // group)), np.float32)
    _core.extremes(x, n, group, lo, hi, 1)
    starts = range(0, n, group)
    np.testing.assert_array_equal(lo, np.stack([x[:, i : i + group].min(1) for i in starts], 1))
    np.testing.assert_array_equal(hi, np.stack([x[:, i : i + group].max(1) for i in starts], 1))


def test_the_extreme_of_zeros_is_plus_zero(isa):
    x = np.array([[-0.0, 0.0] * 40, [-0.0] * 80], np.float32)
    lo, hi = np.ones((2, 2), np.float32)
    _core.extremes(x, 80, 80, lo, hi, 1)
    assert not np.signbit(np.concatenate([lo, hi])).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 17, 64, 1000])
def test_the_first_number_that_is_not_finite_is_found(isa, n, bad, dtype, rng):
    x = rng.standard_normal(n).astype(dtype)
    x[0] = np.finfo(dtype).max
    assert _core.first_nonfinite(x) == n
    for i in {0, n // 2, n - 1}:
        y = x.copy()
        y[i:] = bad
        assert _core.first_nonfinite(y) == i


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_workers_find_the_first_of_several_that_are_not_finite(isa, workers):
    x = np.ones(1 << 19, np.float32)
    assert _core.first_nonfinite(x, workers) == x.size
    for first in (x.size - 1, 300_000, 5):
        x[first] = np.nan
        assert _core.first_nonfinite(x, workers) == first
