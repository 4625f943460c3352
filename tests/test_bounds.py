import itertools
import math

import numpy as np
import pytest

import evenbits
from evenbits import bounds
from evenbits.embedding import Frame, level

D = 1024
LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian cubed": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student": lambda rng, shape: rng.standard_t(2, shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.01),
}
EVERY_LAW = pytest.mark.parametrize("law", LAWS)


def vectors(law, rng, rows=20):
    return LAWS[law](rng, (rows, D)).astype(np.float32)


def errors(x, bits, method, **options):
    """|x - x'|^2 / |x|^2 of each row."""
    y = evenbits.decode(evenbits.quantize(x, bits, method, **options))
    return ((x - y).astype(np.float64) ** 2).sum(1) / (x.astype(np.float64) ** 2).sum(1)


# Levels


def uncertainty(frame, support):
    """The least eta with |S z| <= eta |z| for all z with that many entries that are not 0: by trying all of them."""
    s = frame.analyse(np.eye(frame.d, dtype=np.float32)).astype(np.float64)
    return max(np.linalg.norm(s[:, list(c)], 2) for c in itertools.combinations(range(frame.n), support)), s


@EVERY_LAW
@pytest.mark.parametrize("support", [1, 2])
def test_the_iteration_keeps_the_promises_of_a_frame_whose_eta_is_known(law, support, rng):
    frame = Frame.of_redundancy(16, 2, seed=3)
    eta, _ = uncertainty(frame, support)
    delta = support / frame.n
    x = vectors(law, rng)[:, :16] + 1e-3
    for iterations in (1, 5, 20):
        options = {"redundancy": 2, "seed": 3, "iterations": iterations, "eta": eta, "delta": delta}
        a = evenbits.democratic_embedding(x, closing=False, **options)
        residual = np.linalg.norm(x - frame.synthesise(a), axis=1) / np.linalg.norm(x, axis=1)
        assert (residual <= bounds.kashin_residual(eta, iterations) + 1e-5).all()
        assert (level(a, x) <= bounds.kashin_level(eta, delta) * (1 + 1e-5)).all()


@pytest.mark.parametrize("support", [1, 2])
def test_the_least_maximum_lies_between_its_levels(support, rng):
    linprog = pytest.importorskip("scipy.optimize").linprog
    frame = Frame.of_redundancy(8, 2, seed=1)
    eta, s = uncertainty(frame, support)
    low, high = bounds.least_level(eta, support / frame.n)
    for x in rng.standard_normal((10, 8)):
        one = np.ones((16, 1))
        limits = np.block([[np.eye(16), -one], [-np.eye(16), -one]])
        c = np.append(np.zeros(16), 1)
        best = linprog(c, limits, np.zeros(32), np.hstack([s, np.zeros((8, 1))]), x, bounds=(None, None)).fun
        assert low <= best * 4 / np.linalg.norm(x) <= high
    eta, delta = 0.7, 0.1
    assert bounds.least_level(eta, delta)[1] < eta / ((1 - eta) * math.sqrt(delta)) < bounds.kashin_level(eta, delta)


def test_the_least_level_of_a_frame_that_is_not_parseval_scales_with_it():
    low, high = bounds.least_level(0.5, 0.1)
    assert bounds.least_level(1, 0.1, lower=4, upper=4) == (pytest.approx(low / 2), pytest.approx(high / 2))


@EVERY_LAW
def test_a_rotation_exceeds_its_level_as_rarely_as_promised(law, rng):
    x = vectors(law, rng)
    reached = np.array([level(Frame(D, D, seed).analyse(x), x) for seed in range(20)])
    assert (reached <= bounds.near_democratic_level(D)).all()
    for k in (3.4, 3.8, 4.2):
        assert (reached > k).mean() <= bounds.near_democratic_tail(k, D)
    assert bounds.near_democratic_tail(bounds.near_democratic_level(D), D) == pytest.approx(1 / (2 * D))


@pytest.mark.parametrize(
    ("redundancy", "derived", "measured"),
    [
        (1.02, 2.653, 2.630),
        (1.05, 2.354, 2.346),
        (1.1, 2.126, 2.116),
        (1.25, 1.839, 1.837),
        (1.5, 1.652, 1.652),
        (2, 1.504, 1.505),
        (4, 1.357, 1.356),
    ],
)
def test_the_democratic_level_is_the_one_measured_at_4096_values(redundancy, derived, measured):
    assert bounds.democratic_level(redundancy) == pytest.approx(derived, abs=6e-4)
    assert bounds.democratic_level(redundancy) == pytest.approx(measured, rel=0.01)


def test_the_democratic_level_falls_to_that_of_infinite_redundancy():
    levels = [bounds.democratic_level(r) for r in (1.0001, 1.01, 1.1, 2, 10, 1e3, 1e9, math.inf)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == math.sqrt(math.pi / 2) == pytest.approx(levels[-2], rel=1e-8)


def test_least_maxima_of_random_frames_are_near_the_democratic_level(rng):
    linprog = pytest.importorskip("scipy.optimize").linprog
    d, n = 100, 200
    s = np.linalg.qr(rng.standard_normal((n, d)))[0].T
    x, one = rng.standard_normal(d), np.ones((n, 1))
    limits = np.block([[np.eye(n), -one], [-np.eye(n), -one]])
    found = linprog(np.append(np.zeros(n), 1), limits, np.zeros(2 * n), np.hstack([s, np.zeros((d, 1))]), x, bounds=(None, None))
    assert found.fun * math.sqrt(n) / np.linalg.norm(x) == pytest.approx(bounds.democratic_level(n / d), rel=0.06)
    at_the_ends = (np.abs(found.x[:n]) > found.fun * (1 - 1e-9)).mean()
    assert at_the_ends == pytest.approx(bounds.saturated_share(n / d) + 1 / n)


# Errors of codes


@EVERY_LAW
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
def test_nearest_codes_keep_their_bounds(law, bits, rng):
    x = vectors(law, rng)
    rotated = errors(x, bits, "near_democratic", levels="uniform", range="absmax", fit="range") ** 0.5
    assert (rotated <= bounds.nearest_error(bits, bounds.near_democratic_level(D))).all()
    direct = errors(x, bits, "uniform", grid="mid_rise") ** 0.5
    assert (direct <= bounds.nearest_error(bits, bounds.direct_level(D))).all()
    frame = Frame.of_redundancy(D, 2, 0)
    reached = level(evenbits.democratic_embedding(x, redundancy=frame.n / D, seed=0), x)
    democratic = errors(x, 2 * bits, "democratic", redundancy=2, fit="range") ** 0.5
    limit = np.array([bounds.nearest_error(2 * bits, k, 2) for k in reached])
    assert (democratic <= limit * (1 + 1e-4) + 1e-6).all()


def test_no_number_of_bits_is_too_many_for_a_bound():
    assert bounds.stochastic_error(5000, 1.0) == bounds.nearest_error(5000, 1.0) == 0


@EVERY_LAW
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_stochastic_codes_keep_their_bounds(law, bits, rng):
    x = vectors(law, rng)
    scheme = {"rounding": "stochastic", "fit": "range"}
    rotated = errors(x, bits, "near_democratic", **scheme).mean()
    assert rotated <= bounds.stochastic_error(bits, bounds.near_democratic_level(D))
    direct = errors(x, bits, "uniform", **scheme).mean()
    assert direct <= bounds.stochastic_error(bits, bounds.direct_level(D))
    reached = level(evenbits.democratic_embedding(x, redundancy=2, seed=0), x)
    limit = np.mean([bounds.stochastic_error(2 * bits, k, 2) for k in reached])
    assert errors(x, 2 * bits, "democratic", redundancy=2, **scheme).mean() <= limit


def test_the_sharper_bound_of_hadamard_frames_is_the_general_one_over_the_redundancy():
    assert bounds.stochastic_error(3, 2, 2) * 2 == pytest.approx(bounds.stochastic_error(3, 2, 2, equal_norms=False))
    assert bounds.stochastic_error(3, 2, equal_norms=False) == pytest.approx((2 / 7) ** 2)
    assert bounds.stochastic_error(0, 2) == math.inf


@pytest.mark.parametrize("redundancy", [1.25, 2])
@pytest.mark.parametrize("bits", [3, 4])
def test_typical_errors_are_those_of_kashin_coefficients(redundancy, bits, rng):
    x = vectors("gaussian", rng)
    n = Frame.of_redundancy(D, redundancy, 0).n
    bits = bits * n / D
    k = level(evenbits.democratic_embedding(x, redundancy=redundancy, seed=0), x).mean()
    measured = errors(x, bits, "democratic", redundancy=redundancy, fit="range").mean()
    assert measured == pytest.approx(bounds.typical_error(bits, k, n / D), rel=0.2)


def test_dimension_matters_without_an_embedding_alone():
    assert bounds.stochastic_error(3, bounds.direct_level(4096)) == pytest.approx(4096 / 49)
    assert bounds.stochastic_error(3, bounds.near_democratic_level(4096)) == pytest.approx(4 * math.log(8192) / 49)


def test_a_coarse_code_slows_descent_down():
    assert bounds.descent_rate(9, 1) == pytest.approx(0.8)
    assert bounds.descent_rate(9, 1, bounds.nearest_error(1, 1.9)) == pytest.approx(0.95)


# Risks


@pytest.mark.parametrize(("bits", "risk"), [(1, 0.2507), (2, 0.0634), (4, 0.00488), (6, 0.00122), (8, 0.00099)])
def test_the_risk_of_an_orthogonal_design_is_the_tabulated_one(bits, risk):
    assert bounds.orthogonal_risk(bits, samples=1024) == pytest.approx(risk, abs=5e-5 if risk > 0.01 else 6e-6)


def test_the_threshold_is_where_both_terms_are_equal():
    assert bounds.threshold_bits(samples=1024) == 5
    assert bounds.orthogonal_risk(5, samples=1024) == pytest.approx(2 * bounds.orthogonal_risk(1e3, samples=1024))
    assert bounds.threshold_bits(samples=1, noise=10) == 0


@pytest.mark.parametrize("bits", [0, 0.5, 2, 4])
def test_any_design_includes_the_orthogonal_one(bits):
    s = np.full(7, math.sqrt(1024))
    assert bounds.design_risk(bits, s) / 7 == pytest.approx(bounds.orthogonal_risk(bits, samples=1024))
    assert bounds.design_threshold(s) == pytest.approx(5)


def test_the_design_threshold_is_where_both_terms_are_equal(rng):
    s = np.append(rng.gamma(0.3, size=40) * 30, np.zeros(5))
    bits = bounds.design_threshold(s)
    unquantized = bounds.design_risk(1e4, s)
    assert bits > 0
    assert bounds.design_risk(bits, s) == pytest.approx(2 * unquantized)
    assert bounds.design_threshold(s, noise=1e6) == 0


def test_without_bits_the_risk_is_the_energy_of_the_prior(rng):
    s = rng.gamma(1, size=9)
    assert bounds.design_risk(0, s, prior=2, noise=3) == pytest.approx(9 * 4)


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
def test_quantized_estimates_lie_between_the_lower_and_the_upper_bound(bits, rng):
    d, n, trials = 64, 256, 40
    theta = rng.standard_normal((trials, d))
    design = np.linalg.qr(rng.standard_normal((n, d)))[0] * math.sqrt(n)
    y = theta @ design.T + rng.standard_normal((trials, n))
    least_squares = y @ design / n
    coded = [evenbits.quantize(row, bits, rounding="stochastic", fit="range", seed=i) for i, row in enumerate(least_squares)]
    risk = ((np.array([c.decode() for c in coded]) - theta) ** 2).mean()
    error = bounds.stochastic_error(bits, bounds.near_democratic_level(d))
    assert bounds.orthogonal_risk(bits, samples=n) <= risk <= bounds.quantized_risk(1 / n, 1 + 1 / n, error)


# Outputs


@EVERY_LAW
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_outputs_of_quantized_models_keep_their_bounds(law, bits, rng):
    weights, x = LAWS[law](rng, (16, 100)), rng.standard_normal((50, 100))
    output = LAWS[law](rng, 16) + 0.1
    q = evenbits.quantize(weights, bits).decode()
    v = evenbits.quantize(output, bits, "uniform").decode()
    assert (np.abs(x @ weights.T - x @ q.T) <= bounds.linear_output_error(x, weights, q)).all()
    f = np.maximum(x @ weights.T, 0) @ output
    assert (np.abs(f - np.maximum(x @ q.T, 0) @ v) <= bounds.relu_output_error(x, weights, output, q, v)).all()
    assert bounds.relu_output_error(x[0], weights, output, q, v).shape == ()


# Arguments


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounds.kashin_level(1, 0.5), "eta is 1"),
        (lambda: bounds.kashin_level(0.5, 2), "delta is 2"),
        (lambda: bounds.kashin_residual(0.5, -1), "iterations is -1"),
        (lambda: bounds.least_level(0.5, 0.1, lower=2), "lower is 2"),
        (lambda: bounds.least_level(0.9, 0.1, lower=0.5), "eta is 0.9"),
        (lambda: bounds.near_democratic_level(0), "n is 0"),
        (lambda: bounds.democratic_level(1), "redundancy is 1"),
        (lambda: bounds.democratic_level(0.5), "redundancy is 0.5"),
        (lambda: bounds.nearest_error(-1, 2), "bits is -1"),
        (lambda: bounds.stochastic_error(1, math.nan), "level is nan"),
        (lambda: bounds.descent_rate(1, 2), "convexity is 2"),
        (lambda: bounds.orthogonal_risk(1, samples=0), "samples is 0"),
        (lambda: bounds.design_risk(1, [[1]]), "singular_values"),
        (lambda: bounds.design_threshold([-1.0]), "singular_values"),
    ],
)
def test_values_out_of_range_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


EXTREMES = (1e-50, 1e-25, 1.0, 1e25, 1e50)


@pytest.mark.parametrize("size", EXTREMES)
def test_no_size_of_a_model_or_of_a_level_overflows(size):
    results = [
        bounds.near_democratic_tail(size, 9),
        bounds.stochastic_error(2, size),
        bounds.typical_error(2, size, 1e200),
        bounds.quantized_risk(0, 0, math.inf),
        *bounds.least_level(size**0.5 / 2, 1e-50, lower=size, upper=1e50),
    ]
    for noise, samples in itertools.product(EXTREMES, repeat=2):
        model = {"prior": size, "noise": noise}
        risk = bounds.orthogonal_risk(1, samples=samples, **model)
        assert 0 < risk <= size * size * (1 + 1e-12)
        results += [risk, bounds.threshold_bits(samples=samples, **model)]
        for singular in ([samples, 0], [samples, 1]):
            results += [bounds.design_risk(1, singular, **model), bounds.design_threshold(singular, **model)]
    assert np.isfinite(results).all() and min(results) >= 0


def test_a_great_redundancy_has_the_limit_of_the_levels():
    assert bounds.democratic_level(1e200) == bounds.democratic_level(math.inf)
    assert bounds.democratic_level(1e15) == pytest.approx(math.sqrt(math.pi / 2), rel=1e-14)
