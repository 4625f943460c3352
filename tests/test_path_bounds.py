import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits import path_bounds as bounds
from evenbits.quantizers import PathFollowing
from evenbits.reference import path_following as reference

RUNS = 4000


def gaussian(m, n, seed=0):
    return np.random.default_rng(seed).standard_normal((m, n))


def codes_of(w, x, step, rounding="nearest", y=None, order=1):
    """Weights on an infinite alphabet, float64."""
    quantizer = PathFollowing(alphabet="infinite", step=step, rounding=rounding, order=order, held_out=0, dead=0)
    return quantizer.encode(w, x, y).decode().astype(np.float64)


@settings(max_examples=25)
@given(m=st.integers(1, 12), n=st.integers(1, 40), step=st.sampled_from([0.25, 0.5, 2.0]), seed=st.integers(0, 99))
def test_each_step_adds_its_rounding_error_at_a_right_angle(m, n, step, seed):
    x, w = gaussian(m, n, seed), gaussian(1, n, seed + 100)
    q = codes_of(w, x, step)
    energy, projected, added = bounds.path_energies(w[0], q[0], x)
    np.testing.assert_allclose(energy, projected + added, rtol=1e-9, atol=1e-12)
    assert (added <= step**2 / 4 * (x**2).sum(axis=0) * (1 + 1e-9) + 1e-12).all()
    assert energy[-1] <= bounds.nearest_path_bound(step, x) * (1 + 1e-9)


def test_stochastic_codes_are_unbiased_and_their_errors_within_the_bounds():
    m, n, step = 12, 96, 0.5
    x, w = gaussian(m, n), gaussian(1, n, 1)
    q = codes_of(np.tile(w, (RUNS, 1)), x, step, "stochastic")
    spread = q.std(axis=0)
    assert (np.abs(q.mean(axis=0) - w[0]) < 4.5 * spread / math.sqrt(RUNS) + step * 2**-16).all()
    u = (w - q) @ x.T
    assert (np.abs(u.mean(axis=0)) < 4.5 * u.std(axis=0) / math.sqrt(RUNS) + 1e-3).all()
    largest = np.linalg.norm(x, axis=0).max()
    assert np.linalg.eigvalsh(np.cov(u.T)).max() < bounds.covariance_bound(step, largest)
    assert (u**2).sum(axis=1).mean() < m * bounds.covariance_bound(step, largest)
    dominating = np.linalg.eigvalsh(bounds.dominating_covariance(step, x) - np.cov(u.T)).min()
    assert dominating > 0
    peak = np.abs(u).max(axis=1)
    for level in np.quantile(peak, [0.5, 0.9, 0.99]):
        assert (peak >= level).mean() <= bounds.path_tail(level, m, step, largest)
    most, norm, failure = bounds.path_error(2, n, m, step, largest)
    assert peak.max() < most and np.linalg.norm(u, axis=1).max() < norm and failure < 0.002
    assert bounds.path_tail(most, m, step, largest) == pytest.approx(failure)


def test_a_network_of_aligned_layers_stays_within_its_bound():
    step, m, widths = 0.05, 12, (48, 96, 96, 48)
    a = b = gaussian(m, widths[0])
    norms = []
    for i in range(3):
        w = gaussian(widths[i + 1], widths[i], i) / math.sqrt(widths[i])
        norms.append(np.linalg.norm(a, axis=0).max())
        q = codes_of(w, a, step, "stochastic", b, order=60)
        a, b = np.maximum(a @ w.T, 0), np.maximum(b @ q.T, 0)
    bound, failure = bounds.network_error(3, widths, m, step, norms)
    assert 0 < np.linalg.norm(a - b, axis=0).max() < bound and failure < 0.1


def test_codes_end_where_the_sufficient_alphabet_does_which_grows_as_the_root_of_a_logarithm():
    tops = []
    for n in (64, 256, 1024):
        x, w = gaussian(32, n), gaussian(50, n, 1)
        q = codes_of(w, x, 1.0, "stochastic")
        norms = np.linalg.norm(x, axis=0)
        tops.append(bounds.sufficient_top(2, n, np.abs(w).max(), 1.0, largest=norms.max(), least=norms.min()))
        assert np.abs(q).max() <= tops[-1]
        ideal = bounds.sufficient_top(2, n, math.sqrt(2 * math.log(n)), 1.0, largest=1, least=1)
        assert ideal == pytest.approx(math.sqrt(math.log(n)) * (math.sqrt(2) + 2 * math.sqrt(math.pi)))
    assert math.log2(2 * tops[-1] + 1) < 7


@pytest.mark.parametrize("ratio", [1, 4, 16])
def test_errors_follow_the_law_of_isotropic_data(ratio):
    m, neurons, step = 128, 40, 0.5
    n = ratio * m
    x, w, fresh = gaussian(m, n, 1), gaussian(neurons, n, 2), gaussian(256, n, 3)
    nearest = np.floor(w / step + 0.5) * step
    path, random = codes_of(w, x, step), codes_of(w, x, step, "stochastic")

    def error(q, data=x):
        return np.linalg.norm((w - q) @ data.T)

    gain = bounds.isotropic_gain(n, m)
    assert gain == pytest.approx(m / n * (1 - (1 - 1 / m) ** n))
    assert (error(path) / error(nearest)) ** 2 == pytest.approx(gain, rel=0.05)
    assert 1.35 < error(random) / error(path) < 1.48
    expected = neurons * bounds.isotropic_energy(n, m, step, math.sqrt(m))
    assert error(path) ** 2 == pytest.approx(expected, rel=0.1)
    stochastic = neurons * bounds.isotropic_energy(n, m, step, math.sqrt(m), "stochastic")
    assert stochastic == 2 * expected and error(random) ** 2 == pytest.approx(stochastic, rel=0.1)
    if ratio == 16:
        for q, rounding in ((path, "nearest"), (random, "stochastic")):
            assert error(q, fresh) / error(nearest, fresh) == pytest.approx(bounds.fresh_ratio(rounding), rel=0.05)


def test_sweeps_leave_what_products_of_projections_say():
    m, n = 12, 20
    x, w = gaussian(m, n), gaussian(1, n, 1)
    y = x + 0.2 * gaussian(m, n, 2)
    projections = [np.eye(m) - np.outer(c, c) / (c @ c) for c in y.T]
    product, u = np.eye(m), np.zeros(m)
    for t, p in enumerate(projections):
        product, u = p @ product, p @ (u + w[0, t] * x[:, t])
    for order in (1, 2, 5):
        left = reference.aligned(w, x, y, order, np.ones(n, bool))[1][0]
        np.testing.assert_allclose(left, np.linalg.matrix_power(product, order - 1) @ u, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bounds.path_energies([1.0], [1.0, 2.0], [[1.0]]), "do not fit"),
        (lambda: bounds.network_error(2, (4, 4), 3, 0.1, (1.0, 1.0)), "one more width than layers"),
        (lambda: bounds.sufficient_top(2, 8, 1.0, 0.1, largest=1, least=2), "least is 2, above largest"),
        (lambda: bounds.isotropic_energy(8, 8, 0.1, 1, "up"), "rounding is 'up'"),
        (lambda: bounds.fresh_ratio("up"), "rounding is 'up'"),
        (lambda: bounds.covariance_bound(0, 1), "step is 0"),
    ],
)
def test_arguments_are_checked(call, says):
    with pytest.raises(ValueError, match=says):
        call()
