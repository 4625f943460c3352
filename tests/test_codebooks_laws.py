"""The tables of lloyd_max and optimal_step."""

import math
from itertools import pairwise

import numpy as np
import pytest

from evenbits.codebooks import lloyd_max, optimal_step
from evenbits.reference import codebooks as reference

LAWS = ["gaussian", "laplacian"]

# The cells of a codebook, exactly: their masses and first moments.


def _cells(levels, law):
    c = lloyd_max(levels, law) if isinstance(levels, int) else levels
    t = [-math.inf, *((c[1:] + c[:-1]) / 2), math.inf]
    cells = [_cell(a, b, law) for a, b in pairwise(t)]
    return c, np.array([p for p, _ in cells]), np.array([m for _, m in cells])


def _cell(a, b, law):
    _, mass, moment = reference.LAWS[law]
    if b <= 0:
        p, m = _cell(-b, -a, law)
        return p, -m
    if a < 0:
        (p, m), (q, r) = _cell(a, 0.0, law), _cell(0.0, b, law)
        return p + q, m + r
    upper = (0.0, 0.0) if b == math.inf else (mass(b), moment(b))
    return mass(a) - upper[0], moment(a) - upper[1]


def _error(codebook, law):
    c, p, m = _cells(codebook, law)
    return 1 - 2 * np.sum(c * m) + np.sum(c * c * p)


@pytest.mark.parametrize("law", LAWS)
def test_every_table_is_symmetric_and_ascending(law):
    for levels in range(1, 257):
        c = lloyd_max(levels, law)
        assert c.shape == (levels,) and c.dtype == np.float64
        np.testing.assert_array_equal(c, -c[::-1])
        assert np.all(np.diff(c) > 0)
        assert levels % 2 == 0 or c[levels // 2] == 0


@pytest.mark.parametrize("law", LAWS)
def test_every_level_is_the_mean_of_its_cell(law):
    for levels in [*range(1, 40), *range(40, 257, 12), 255, 256]:
        c, mass, moment = _cells(levels, law)
        np.testing.assert_allclose(moment / mass, c, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 100, 255, 256])
def test_tables_equal_the_float64_reference(levels, law):
    np.testing.assert_allclose(lloyd_max(levels, law), reference.lloyd_max(levels, law), rtol=0, atol=1e-10)


@pytest.mark.parametrize("law, decibels", [
    ("gaussian", [4.40, 9.30, 14.62, 20.22, 26.01]), ("laplacian", [3.01, 7.54, 12.64, 18.13, 23.87]),
])  # fmt: skip
def test_errors_are_the_published_ones(law, decibels):
    """Signal to noise at 1, 2, ... bits: Jayant and Noll, Digital Coding of Waveforms."""
    assert [round(-10 * math.log10(_error(2**bits, law)), 2) for bits in range(1, 6)] == decibels


@pytest.mark.parametrize("levels, error", [(2, 1 - 2 / math.pi), (4, 0.1174818), (8, 0.0345478), (16, 0.009501)])
def test_errors_of_gaussian_numbers(levels, error):
    assert _error(levels, "gaussian") == pytest.approx(error, rel=1e-5)


def test_two_levels_are_the_mean_of_the_half_line():
    assert lloyd_max(2)[1] == math.sqrt(2 / math.pi)
    assert lloyd_max(2, "laplacian")[1] == pytest.approx(math.sqrt(0.5), rel=1e-16)


@pytest.mark.parametrize("levels", [2, 3, 4, 6])
def test_a_lopsided_codebook_of_the_laplacian_straightens_under_lloyds_iteration(levels):
    c = np.linspace(-0.2, 3, levels)
    for _ in range(2000):  # for even counts the last of the way is slow: the density has its kink at a threshold
        _, mass, moment = _cells(c, "laplacian")
        c = moment / mass
    np.testing.assert_allclose(c, lloyd_max(levels, "laplacian"), atol=5e-3)
    assert _error(levels, "laplacian") <= _error(c, "laplacian") + 1e-14


@pytest.mark.parametrize("law", LAWS)
def test_no_uniform_step_is_better(law):
    for levels in [2, 3, 4, 5, 8, 16, 37, 128, 256]:
        points, step = np.arange(levels) - (levels - 1) / 2, optimal_step(levels, law)
        _, mass, moment = _cells(points * step, law)
        assert np.sum(points * moment) == pytest.approx(np.sum(points * points * mass) * step, abs=1e-12)
        least = _error(points * step, law)
        assert all(least < _error(points * step * factor, law) for factor in (0.3, 0.7, 0.99, 1.01, 1.5, 3))
        assert least >= _error(levels, law) - 1e-12


@pytest.mark.parametrize("law, steps", [
    ("gaussian", {2: 1.5958, 4: 0.9957, 8: 0.5860, 16: 0.3352}),
    ("laplacian", {2: 1.4142, 4: 1.0874, 8: 0.7309, 16: 0.4610}),
])  # fmt: skip
def test_steps_are_the_published_ones(law, steps):
    assert {levels: round(optimal_step(levels, law), 4) for levels in steps} == steps


def test_tables_cannot_be_damaged_by_their_users():
    lloyd_max(4)[:] = 0
    assert lloyd_max(4)[3] == pytest.approx(1.5104, abs=1e-4)


@pytest.mark.parametrize("levels", [0, -1, 257])
def test_counts_without_a_table_are_refused(levels):
    for table in (lloyd_max, optimal_step):
        with pytest.raises(ValueError, match=f"levels is {levels}"):
            table(levels)


def test_other_laws_and_counts_are_refused():
    with pytest.raises(ValueError, match="law is 'cauchy'; it must be 'gaussian' or 'laplacian'"):
        lloyd_max(4, "cauchy")
    with pytest.raises(TypeError, match=r"levels is 2\.5"):
        lloyd_max(2.5)
    with pytest.raises(ValueError, match="levels is 1"):
        optimal_step(1)


def test_each_law_prefers_its_own_codebook():
    for own, other in (LAWS, LAWS[::-1]):
        assert _error(8, own) < _error(lloyd_max(8, other), own)
