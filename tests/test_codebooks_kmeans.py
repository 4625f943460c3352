"""kmeans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits.codebooks import kmeans
from evenbits.reference import codebooks as reference

some_numbers = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200)


def _distortion(x, c):
    x, c = np.ravel(x).astype(np.float64), np.sort(np.asarray(c, np.float64))
    return np.sum((x - c[np.searchsorted((c[1:] + c[:-1]) / 2, x)]) ** 2)


def _least_distortion(x, k):
    """The best partition of the sorted numbers into k intervals, by dynamic programming."""
    v = np.sort(np.ravel(x).astype(np.float64))
    n = v.size
    cost = np.array([[np.sum((v[i:j] - v[i:j].mean()) ** 2) if i < j else 0.0 for j in range(n + 1)] for i in range(n)])
    best = np.concatenate([[0.0], np.full(n, np.inf)])
    for _ in range(k):
        best = np.array([min(best[j], *(best[i] + cost[i, j] for i in range(j))) if j else 0.0 for j in range(n + 1)])
    return best[n]


@pytest.mark.parametrize("n", [1, 2, 5, 40, 700])
@pytest.mark.parametrize("levels", [1, 2, 3, 8, 100])
def test_kmeans_equals_the_reference_bit_for_bit(n, levels, rng):
    for x in (
        rng.standard_normal(n).astype(np.float32),
        rng.standard_normal(n) ** 5,
        rng.integers(-9, 9, n),
        rng.choice([0.0, -0.0, 1e300, -1e300, 3e299], n),
        rng.integers(-9999, 9999, n) * 5e-324,
    ):
        c = kmeans(x, levels)
        assert c.dtype == np.float64 and c.tobytes() == reference.kmeans(x, levels).tobytes()
        assert c.size == min(levels, np.unique(x).size) and np.all(np.diff(c) > 0)
    assert kmeans(rng.random(n), levels, iterations=1).size == min(levels, n)


@pytest.mark.parametrize("levels", [2, 3, 4, 6])
def test_kmeans_finds_clusters_where_there_are_some(levels, rng):
    for _ in range(5):
        centres = rng.permutation(10)[:levels] * 7.0
        x = np.concatenate([centre + rng.uniform(-1, 1, rng.integers(3, 9)) for centre in centres])
        assert _distortion(x, kmeans(x, levels)) <= _least_distortion(x, levels) * (1 + 1e-9)


def test_kmeans_is_near_the_optimum_on_small_samples(rng):
    excess = []
    for _ in range(60):
        x = rng.standard_normal(30)
        excess.append(_distortion(x, kmeans(x, 4)) / _least_distortion(x, 4) - 1)
    assert min(excess) >= -1e-9 and np.median(excess) < 0.01 and np.mean(excess) < 0.05


@settings(deadline=None, max_examples=60)
@given(some_numbers, st.integers(1, 20))
def test_kmeans_is_no_worse_than_equal_counts_and_equal_widths(numbers, k):
    x = np.float64(numbers)
    v, i = np.sort(x), np.arange(1, k)
    for edges in (v[i * v.size // k], v[0] + i / k * (v[-1] - v[0])):
        start = [cell.mean() for cell in np.split(v, np.searchsorted(v, edges)) if cell.size]
        assert _distortion(x, kmeans(x, k)) <= _distortion(x, start) + 1e-12 * np.sum(x * x)


@settings(deadline=None, max_examples=40)
@given(some_numbers, st.integers(1, 9), st.randoms(), st.integers(-300, 300))
def test_kmeans_ignores_order_and_scales_with_powers_of_two(numbers, k, random, power):
    c, shuffled = kmeans(np.float64(numbers), k), list(numbers)
    random.shuffle(shuffled)
    assert kmeans(np.float64(shuffled), k).tobytes() == c.tobytes()
    if not 0 < np.min(np.abs(np.float64([a for a in numbers if a] or [1.0]))) < 1e-30:
        np.testing.assert_array_equal(kmeans(np.ldexp(numbers, power), k), np.ldexp(c, power))


@pytest.mark.parametrize("levels, error", [(2, 0.36338), (4, 0.117482), (16, 0.0095010), (256, 4.1185e-5)])
def test_kmeans_of_gaussian_numbers_is_as_good_as_lloyd_max(levels, error, rng):
    x = rng.standard_normal(100_000, dtype=np.float32)
    assert _distortion(x, kmeans(x, levels)) / np.sum(x.astype(np.float64) ** 2) < error * 1.01


def test_kmeans_of_few_values_is_these_values():
    np.testing.assert_array_equal(kmeans([[3, 1], [1, 3]], 5), [1, 3])
    np.testing.assert_array_equal(kmeans(np.full(1000, 0.1), 4), [0.1])
    assert np.signbit(kmeans([-0.0], 1)).tolist() == [False]
    np.testing.assert_array_equal(kmeans(2.0, 3), [2])


def test_kmeans_begins_where_it_is_told():
    x = np.repeat([0.0, 1, 10, 11], [5, 5, 1, 1])
    np.testing.assert_array_equal(kmeans(x, 2, start=[0.5, 10.5]), [0.5, 10.5])
    np.testing.assert_array_equal(kmeans(x, 2, start=[0, 0.9]), kmeans(x, 2, start=[0, 1]))
    for start in ([1, 2, 3], [2, 1]):
        with pytest.raises(ValueError, match=r"start has shape .* it must be 2 ascending levels"):
            kmeans(x, 2, start=start)
    with pytest.raises(ValueError, match=r"start\[0\] is nan"):
        kmeans(x, 2, start=[np.nan, 1])


def test_kmeans_refuses_what_has_no_codebook():
    with pytest.raises(ValueError, match="x is empty"):
        kmeans([], 2)
    with pytest.raises(ValueError, match=r"x\[1\] is nan"):
        kmeans([1, np.nan], 2)
    for arguments in ({"levels": 0}, {"levels": 257}, {"levels": 2, "iterations": 0}):
        with pytest.raises(ValueError, match="it must be from"):
            kmeans([1.0, 2.0], **arguments)
