import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits.path_following import Calibration, StoredRows
from evenbits.quantizers.error_feedback import ErrorFeedback, Nearest, unit_factor

DATA = np.random.default_rng(0).standard_normal((300, 24)) @ np.random.default_rng(1).standard_normal((24, 24))
WEIGHTS = np.random.default_rng(2).standard_normal((10, 24))


def gptq(w, h, step, low, high):
    """As published: with the inverse's Cholesky factor, each column's error taken off the columns to come."""
    w, upper = w.copy(), np.linalg.cholesky(np.linalg.inv(h)).T
    q = np.zeros_like(w)
    for t in range(w.shape[1]):
        q[:, t] = np.clip(np.floor(w[:, t] / step + 0.5), low, high) * step
        w[:, t:] -= np.outer((w[:, t] - q[:, t]) / upper[t, t], upper[t, t:])
    return q


@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_codes_are_those_of_the_published_algorithm(bits, portable):
    quantizer = ErrorFeedback(bits, damping=0.01, held_out=0, portable=portable)
    encoded = quantizer.encode(WEIGHTS, DATA)
    h = DATA.T @ DATA
    h += 0.01 * h.diagonal().mean() * np.eye(len(h))
    top = 2 ** (bits - 1) - 1
    expected = gptq(WEIGHTS, h, encoded.report.step, -top, top)
    np.testing.assert_allclose(evenbits.decode(encoded), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32), st.booleans())
def test_the_factor_is_triangular_with_ones(n, seed, portable):
    x = np.random.default_rng(seed).standard_normal((2 * n, n))
    h = x.T @ x + 0.01 * np.eye(n)
    m = unit_factor(h, portable=portable)
    np.testing.assert_array_equal(m, np.triu(m))
    np.testing.assert_array_equal(m.diagonal(), np.ones(n))
    inverse = np.linalg.inv(m)
    d = inverse @ h @ inverse.T
    np.testing.assert_allclose(d, np.diag(d.diagonal()), atol=1e-8 * np.abs(h).max())


def test_a_matrix_without_a_positive_pivot_is_refused():
    with pytest.raises(ValueError, match="no positive pivot at column 1"):
        unit_factor(np.array([[1.0, 0.0], [0.0, 0.0]]))


def test_it_looks_at_the_inputs_of_the_quantized_network_alone():
    changed = ErrorFeedback(3, held_out=0).encode(WEIGHTS, DATA * 3, DATA)
    np.testing.assert_array_equal(changed.planes["codes"], ErrorFeedback(3, held_out=0).encode(WEIGHTS, DATA).planes["codes"])


def test_outputs_are_nearer_than_with_nearest_rounding():
    feedback, nearest = (kind(3, clip="search").encode(WEIGHTS, DATA).report for kind in (ErrorFeedback, Nearest))
    assert feedback.calibration_error < 0.7 * nearest.calibration_error
    assert feedback.fresh_error < nearest.fresh_error


def test_nearest_rounds_every_weight_by_itself():
    encoded = Nearest(4).encode(WEIGHTS, DATA, DATA + 1)
    step = encoded.report.step
    np.testing.assert_allclose(evenbits.decode(encoded), np.clip(np.floor(WEIGHTS / step + 0.5), -7, 7) * step, rtol=1e-6)
    assert encoded.report.calibration_error == encoded.report.nearest_calibration_error
    assert encoded.method == "nearest" and encoded.spec["method"] == "nearest"


@pytest.mark.parametrize("kind", [ErrorFeedback, Nearest])
def test_dead_inputs_and_no_rows_give_nearest_rounding(kind):
    data = Calibration(24, held_out=0).update(np.zeros((3, 24)))
    encoded = kind(4).encode(WEIGHTS, data)
    step = encoded.report.step
    np.testing.assert_allclose(evenbits.decode(encoded), np.clip(np.floor(WEIGHTS / step + 0.5), -7, 7) * step, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:on rows held out:RuntimeWarning")
@pytest.mark.parametrize("kind", [ErrorFeedback, Nearest])
def test_every_number_of_workers_gives_the_same_codes(kind):
    one, many = (kind(3, rounding="stochastic", seed=5).encode(WEIGHTS, DATA, workers=workers) for workers in (1, 3))
    np.testing.assert_array_equal(one.planes["codes"], many.planes["codes"])


def test_columns_may_come_in_the_order_of_their_norms():
    scaled = DATA * np.random.default_rng(3).permutation(np.geomspace(1, 30, 24))
    order = np.argsort(-(Calibration(24, held_out=0).update(scaled).gram.diagonal()), kind="stable")
    found = evenbits.decode(ErrorFeedback(3, columns="norm", held_out=0).encode(WEIGHTS, scaled))
    sorted_first = evenbits.decode(ErrorFeedback(3, held_out=0).encode(WEIGHTS[:, order], scaled[:, order]))
    np.testing.assert_array_equal(found[:, order], sorted_first)


def test_options_of_path_following_alone_are_refused():
    with pytest.raises(TypeError, match="error_feedback has no option 'order'"):
        ErrorFeedback(3, order=2)
    with pytest.raises(ValueError, match="damping is -1"):
        ErrorFeedback(3, damping=-1)
    with pytest.raises(ValueError, match="calibration is missing"):
        ErrorFeedback(3).encode(WEIGHTS)


@pytest.mark.parametrize("kind", [ErrorFeedback, Nearest])
def test_a_scalar_is_a_row_of_one_and_rows_that_are_kept_are_no_sums(kind):
    encoded = kind(3, held_out=0).encode(np.float32(1), np.ones((3, 1)))
    assert encoded.shape == () and encoded.decode() == pytest.approx(1, abs=0.2)
    with pytest.raises(TypeError, match=r"calibration is a StoredRows, and .* takes sums of products"):
        kind(3).encode(np.ones((2, 4)), StoredRows().update(np.ones((9, 4))))
