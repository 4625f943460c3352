import math

import numpy as np
import pytest

import evenbits
from evenbits import rate_distortion as rd


@pytest.mark.parametrize("bits", [0, 0.5, 1, 3.3])
def test_gaussian_rate_and_distortion_are_inverse(bits):
    assert rd.gaussian_rate(rd.gaussian_distortion(bits, 2.5), 2.5) == pytest.approx(bits)
    assert rd.gaussian_rate(3, 2.5) == 0


def test_water_fills_the_strong_components_alone():
    water, errors = rd.reverse_water_filling([4, 1, 0.1, 0], 2)
    assert water == pytest.approx(0.5)
    np.testing.assert_allclose(errors, [0.5, 0.5, 0.1, 0])


@pytest.mark.parametrize("bits", [0, 0.3, 7, 60, 400])
def test_water_spends_the_bits(bits, rng):
    v = rng.gamma(0.3, size=50)
    water, errors = rd.reverse_water_filling(v, bits)
    assert sum(rd.gaussian_rate(e, a) for e, a in zip(errors, v, strict=True)) == pytest.approx(bits, abs=1e-9)
    np.testing.assert_array_equal(errors, np.minimum(v, water))


def test_nothing_to_code_has_no_error():
    assert rd.reverse_water_filling([0.0, 0.0], 3)[1].tolist() == [0, 0]
    assert rd.reverse_water_filling([], 3)[1].size == 0


@pytest.mark.parametrize(("bits", "decibels"), [(1, 6.62), (2, 12.66)])
def test_the_laplacian_distortion_is_the_tabulated_one(bits, decibels):
    """Noll and Zelinski, IEEE Trans. Commun. 26 (1978)."""
    assert -10 * math.log10(rd.laplacian_distortion(bits)) == pytest.approx(decibels, abs=0.015)


def test_the_laplacian_distortion_lies_between_its_limits():
    rates = (0.1, 0.5, 1, 2, 3, 4)
    values = [rd.laplacian_distortion(b) for b in rates]
    assert values == sorted(values, reverse=True)
    for b, value in zip(rates, values, strict=True):
        assert rd.laplacian_distortion_limit(b) <= value < rd.gaussian_distortion(b)
    assert rd.laplacian_distortion(0, 3.0) == 3
    assert rd.laplacian_distortion(1, 3.0) == pytest.approx(3 * values[2])


@pytest.mark.parametrize("law", ["gaussian", "laplacian"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_no_scalar_code_falls_below(law, bits, rng):
    x = rng.standard_normal(200_000) if law == "gaussian" else rng.laplace(size=200_000) / math.sqrt(2)
    levels = evenbits.lloyd_max(2**bits, law)
    error = np.mean((x - levels[evenbits.nearest_level(x, levels)]) ** 2)
    least = {"gaussian": rd.gaussian_distortion, "laplacian": rd.laplacian_distortion}[law](bits)
    assert 1.4 * least < error < 5.2 * least  # 2.7 and 5.2 for many levels: Panter and Dite


def test_signs_and_magnitudes_reach_no_less_than_the_absolute_distortion(rng):
    """One bit a value: the sign, and the best magnitude for an absolute error, its median."""
    x = rng.laplace(size=200_000)
    assert np.mean(np.abs(np.abs(x) - math.log(2))) > rd.laplacian_absolute_distortion(1) == 0.5


@pytest.mark.parametrize("error", [0.1, 0.5, 0.9])
def test_the_best_code_of_a_laplacian_is_0_as_often_as_its_error_says(error, rng):
    """Made backwards: a code that is 0 so often, plus a Laplacian of the error, is a Laplacian of scale 1."""
    zero = rd.laplacian_zero_mass(error)
    code = np.where(rng.random(400_000) < zero, 0, rng.laplace(size=400_000))
    x = code + rng.laplace(0, error, 400_000)
    assert [np.mean(np.abs(x) > t) for t in (0.1, 0.5, 1, 3)] == pytest.approx([math.exp(-t) for t in (0.1, 0.5, 1, 3)], abs=4e-3)
    assert 2 ** (-2 * rd.laplacian_absolute_rate(error)) == pytest.approx(zero)
    one_sided = rd.exponential_zero_mass(error)
    u = np.where(rng.random(400_000) < one_sided, 0, rng.exponential(size=400_000)) + rng.exponential(error, 400_000)
    assert [np.mean(u > t) for t in (0.1, 1, 3)] == pytest.approx([math.exp(-t) for t in (0.1, 1, 3)], abs=4e-3)


def test_announcing_single_weights_nears_the_least_bits():
    ratios = [rd.refinement_overhead(1e5, b) for b in (10_000, 100, 1)]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] == pytest.approx(1.434, abs=1e-3)
    assert rd.laplacian_absolute_distortion(rd.laplacian_absolute_rate(0.3, 2.0), 2.0) == pytest.approx(0.3)
    assert rd.laplacian_absolute_rate(5) == 0 and rd.laplacian_zero_mass(5) == rd.exponential_zero_mass(5) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rd.gaussian_distortion(-1), "bits is -1"),
        (lambda: rd.gaussian_distortion(1, 0), "variance is 0"),
        (lambda: rd.gaussian_rate(0), "distortion is 0"),
        (lambda: rd.reverse_water_filling([1, -1], 1), "variances"),
        (lambda: rd.laplacian_absolute_distortion(1, math.nan), "scale is nan"),
        (lambda: rd.laplacian_distortion(math.inf), "bits is inf"),
        (lambda: rd.refinement_overhead(10, 10), "candidates is 10"),
        (lambda: rd.laplacian_zero_mass(0), "distortion is 0"),
    ],
)
def test_values_out_of_range_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
