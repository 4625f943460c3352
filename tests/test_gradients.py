import itertools

import numpy as np
import pytest

import evenbits
from evenbits import bounds
from evenbits.gradients import Compressor, ErrorFeedback, dgd_def, dq_psgd

METHODS = ["uniform", "near_democratic", "democratic"]


def after(steps, iterates):
    return next(itertools.islice(iterates, steps - 1, None))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [0.5, 1, 2.5, 4])
def test_unbiased_codes_are_right_on_average(bits, method, rng):
    x = rng.standard_normal(64) ** 3
    compressor = Compressor(bits, method, unbiased=True)
    received = np.array([compressor(x, stream) for stream in range(600)])
    deviation = received.std(axis=0) / np.sqrt(len(received))
    off = received.mean(axis=0) - x
    assert 0 < np.abs(off).max() <= 5 * deviation.max()  # of each by itself 600 vectors say too little
    assert np.linalg.norm(off) <= 1.5 * np.linalg.norm(deviation)


@pytest.mark.parametrize("size", [0, 1, 5, 116, 4096, 4097, 10_000])
@pytest.mark.parametrize("unbiased", [True, False])
def test_a_vector_takes_the_bytes_announced_and_comes_back(size, unbiased, rng):
    x = rng.standard_normal(size).astype(np.float32)
    compressor = Compressor(8, unbiased=unbiased)
    data = compressor.compress(x, 3)
    assert data.shape == (compressor.nbytes(size),)
    y = compressor.decompress(data, size, 3)
    assert y.shape == x.shape
    assert np.linalg.norm(x - y) <= 0.05 * np.linalg.norm(x)
    assert compressor.nbytes(size) <= 1.1 * size + 70


def test_one_row_is_coded_as_quantize_does(rng):
    x = rng.standard_normal(1000).astype(np.float32)
    expected = evenbits.quantize(x, 2, "democratic", redundancy=1.5, seed=9).decode()
    np.testing.assert_array_equal(Compressor(2, "democratic", redundancy=1.5, seed=9)(x, 0), expected)


@pytest.mark.parametrize("method", [*METHODS, "sign_frame", "kashin"])
def test_vectors_too_short_for_the_rate_have_a_code(method):
    compressor = Compressor(0.1, method, row=12)
    for size in (1, 3, 9, 13):
        received = np.mean([compressor(np.full(size, 2.0), stream) for stream in range(60)])
        assert 0.1 < received <= 2.5
    Compressor(1 / 3, method).compress(np.ones(3), 0)


def test_plain_codes_of_democratic_coefficients_are_sent_as_such(rng):
    assert Compressor(None, "democratic", code_bits=2).nbytes(256) == 320 * 2 // 8 + 4


def test_streams_have_frames_of_their_own(rng):
    x = rng.standard_normal(100)
    compressor = Compressor(1)
    assert (compressor(x, 0) != compressor(x, 1)).any()
    np.testing.assert_array_equal(compressor(x, 1), Compressor(1)(x, 1))


def test_the_shape_of_what_is_sent_is_kept(rng):
    x = rng.standard_normal((3, 4, 5)).astype(np.float16)
    assert Compressor(4)(x, 0).shape == (3, 4, 5)


@pytest.mark.parametrize("bits", [0.5, 1, 2])
def test_with_feedback_the_sums_agree_but_for_one_error(bits, rng):
    feedback = ErrorFeedback(Compressor(bits))
    vectors = rng.standard_normal((50, 200))
    sent = np.sum([feedback(x, t) for t, x in enumerate(vectors)], axis=0)
    np.testing.assert_allclose(sent + feedback.error, vectors.sum(axis=0), atol=1e-4)
    assert np.linalg.norm(feedback.error) < np.linalg.norm(vectors.sum(axis=0))


@pytest.fixture
def least_squares(rng):
    """A gradient, its constants and the minimizer, for a condition number of 9."""
    q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    curvature = q @ np.diag(np.linspace(1, 9, 60)) @ q.T
    best = rng.standard_normal(60) ** 3
    return (lambda x: curvature @ (x - best)), 9.0, 1.0, best


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("method", ["near_democratic", "democratic"])
def test_descent_with_feedback_follows_the_exact_one(bits, method, least_squares):
    gradient, smooth, convex, best = least_squares
    step = 2 / (smooth + convex)
    visited = []

    def recorded(z):
        visited.append(z)
        return gradient(z)

    exact = list(itertools.islice(dgd_def(gradient, np.zeros(60), step=step, compressor=None), 60))
    coded = list(itertools.islice(dgd_def(recorded, np.zeros(60), step=step, compressor=Compressor(bits, method)), 60))
    scale = np.linalg.norm(best)
    for t in range(1, 60):
        np.testing.assert_allclose(visited[t], exact[t - 1], atol=1e-12 * scale)
    rate = bounds.descent_rate(smooth, convex)
    assert np.linalg.norm(exact[-1] - best) <= 1.001 * rate**60 * scale
    assert np.linalg.norm(coded[-1] - best) <= 8 * max(rate, 0.85 if bits == 1 else 0) ** 60 * scale


def test_errors_of_descent_keep_their_bound(least_squares):
    """Uniform codes of rotated vectors are off by a share of b at most."""
    gradient, smooth, convex, _ = least_squares
    step, b = 2 / (smooth + convex), bounds.nearest_error(4, bounds.near_democratic_level(64))
    slopes = []

    def recorded(z):
        slopes.append(np.linalg.norm(gradient(z)))
        return gradient(z)

    compressor = Compressor(4, levels="uniform", range="absmax", fit="range")
    exact = itertools.islice(dgd_def(gradient, np.zeros(60), step=step, compressor=None), 40)
    coded = dgd_def(recorded, np.zeros(60), step=step, compressor=compressor)
    for t, z in enumerate(exact):
        off = np.linalg.norm(next(coded) - z)
        assert 0 < off <= step * sum(b ** (t - s + 1) * slope for s, slope in enumerate(slopes))


@pytest.mark.parametrize("bits", [0.5, 2])
def test_stochastic_descent_finds_the_minimum_of_a_function_with_edges(bits, rng):
    """The sum of |x - a|, inside a ball."""
    a = rng.uniform(-0.2, 0.2, 50)
    start = np.full(50, 0.7)

    def project(x):
        return x / max(1.0, np.linalg.norm(x) / 5)

    def gradient(x, t):
        return np.sign(x - a)

    found = after(
        3000,
        dq_psgd(
            gradient, start, step=lambda t: 0.2 / np.sqrt(t + 1), compressor=Compressor(bits, unbiased=True), project=project
        ),
    )
    assert np.abs(found - a).mean() < 0.15 * np.abs(start - a).mean()
    assert np.linalg.norm(found) <= 5


def test_stochastic_descent_gives_the_means_of_its_iterates():
    means = dq_psgd(lambda x, t: np.ones(2) * (t + 1), [0.0, 6.0], step=1, compressor=None)
    np.testing.assert_allclose([next(means) for _ in range(3)], [[-1, 5], [-2, 4], [-10 / 3, 8 / 3]])


def test_biased_codes_are_refused_where_unbiased_ones_are_needed():
    with pytest.raises(ValueError, match="unbiased=True"):
        next(dq_psgd(lambda x, t: x, [1.0], step=1.0, compressor=Compressor(2)))
    with pytest.raises(ValueError, match="method is 'lloyd_max'"):
        Compressor(2, "lloyd_max", unbiased=True)


def test_a_fallback_that_the_other_end_does_not_know_of_is_an_error(rng):
    with pytest.raises(ValueError, match="iterations is 1"):
        Compressor(2, "kashin", refine=False, iterations=1).compress(rng.standard_normal(64), 0)


def test_only_bytes_are_decompressed_of_any_kind(rng):
    compressor = Compressor(2)
    data = compressor.compress(rng.standard_normal(50), 7)
    expected = compressor.decompress(data, 50, 7)
    for same in (bytes(data), bytearray(data), memoryview(data), np.repeat(data, 2)[::2]):
        np.testing.assert_array_equal(compressor.decompress(same, 50, 7), expected)
    with pytest.raises(TypeError, match="data has dtype float64; pass the bytes"):
        compressor.decompress(data + 0.5, 50, 7)


def test_feedback_is_for_vectors_of_one_shape():
    feedback = ErrorFeedback(Compressor(2))
    feedback(np.ones(6), 0)
    with pytest.raises(ValueError, match=r"x has shape \(1,\); what the codes have lost so far has \(6,\)"):
        feedback(np.ones(1), 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Compressor(0), "bits is 0"),
        (lambda: Compressor(2, "none"), "method is 'none'"),
        (lambda: Compressor(2, row=0), "row is 0"),
        (lambda: Compressor(2)([1.0, np.nan], 0), "is nan"),
        (lambda: Compressor(2)([1.0], -1), "stream is -1"),
        (lambda: Compressor(2).decompress(np.zeros(3, np.uint8), 7, 0), "7 values take"),
        (lambda: Compressor(2, "dead_zone"), "method is 'dead_zone', whose codes differ in size"),
        (lambda: Compressor(2, "uniform", unbiased=True, range="optimal"), "fit is 'unbiased'; range='optimal' clips"),
        (lambda: Compressor(0.5, unbiased=True, fit="range"), "fit is 'range'; with unbiased=True"),
        (lambda: Compressor(2, unbiased=True, rounding="nearest", fit="least_squares"), "fit is 'least_squares'; with unb"),
        (lambda: next(dgd_def(lambda x: x, [1.0], step=-1, compressor=None)), "step is -1"),
    ],
)
def test_arguments_are_checked(call, words):
    with pytest.raises(ValueError, match=words):
        call()
