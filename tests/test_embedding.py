import numpy as np
import pytest

import evenbits
from evenbits import _core
from evenbits.bounds import democratic_level
from evenbits.embedding import Frame, kashin_schedule, level
from evenbits.reference import embedding as reference

LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian cubed": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student": lambda rng, shape: rng.standard_t(2, shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.01),
}


@pytest.mark.parametrize(("d", "redundancy"), [(1, 1), (3, 1), (10, 1.25), (100, 2), (384, 1.25), (700, 1.1), (4096, 2)])
def test_frames_are_parseval(d, redundancy):
    frame = Frame.of_redundancy(d, redundancy, seed=1)
    x = np.eye(d, dtype=np.float32)[: min(d, 50)]
    np.testing.assert_allclose(frame.synthesise(frame.analyse(x)), x, atol=3e-6)
    assert frame.n >= redundancy * d - 1e-9
    assert len(frame.support) == d == np.count_nonzero(frame.signs)


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize(("d", "redundancy"), [(5, 1.5), (64, 2), (100, 1.25), (384, 1.1), (1000, 1.5)])
def test_kashin_equals_the_reference_bit_for_bit(isa, d, redundancy, closing, rng):
    x = rng.standard_normal((3, d)).astype(np.float32) ** 3
    x[1] = 0
    a = evenbits.democratic_embedding(x, redundancy=redundancy, seed=4, iterations=5, closing=closing)
    frame = Frame.of_redundancy(d, redundancy, seed=4)
    eta, delta = kashin_schedule(frame.n / d)
    np.testing.assert_array_equal(a, reference.kashin(frame.spread(x), frame.base, frame.signs, 5, eta, delta, closing))


def exact(x, redundancy, seed, **options):
    return evenbits.democratic_embedding(x, redundancy=redundancy, seed=seed, solver="exact", **options)


@pytest.mark.parametrize("iterations", [0, 1, 2, 6])
@pytest.mark.parametrize(
    ("d", "redundancy"), [(1, 1), (7, 1), (5, 1.5), (64, 2), (100, 1.25), (384, 1.1), (1000, 1.5), (2040, 1)]
)
def test_the_exact_solver_equals_the_reference_bit_for_bit(isa, d, redundancy, iterations, rng):
    x = rng.standard_normal((3, d)).astype(np.float32) ** 3
    x[1] = 0
    x[2, 1:] = 0
    frame = Frame.of_redundancy(d, redundancy, seed=4)
    expected = reference.democratic(frame.spread(x), frame.base, frame.signs, iterations)
    np.testing.assert_array_equal(exact(x, redundancy, 4, iterations=iterations), expected)


def least_levels(x, frame):
    """Level of min |a|_inf subject to S a = x, by linear programming in doubles."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    n, identity = frame.n, np.eye(frame.n)
    s = frame.synthesise(identity.astype(np.float32)).T.astype(np.float64)
    one = np.ones((n, 1))
    levels = []
    for row in np.asarray(x, np.float64):
        solved = linprog(
            np.append(np.zeros(n), 1),
            A_ub=np.block([[identity, -one], [-identity, -one]]),
            b_ub=np.zeros(2 * n),
            A_eq=np.hstack([s, np.zeros((frame.d, 1))]),
            b_eq=row,
            bounds=[(None, None)] * n + [(0, None)],
        )
        levels.append(solved.fun * np.sqrt(n) / np.linalg.norm(row))
    return np.array(levels)


@pytest.mark.parametrize("law", ["gaussian", "gaussian cubed", "spikes", "equal"])
@pytest.mark.parametrize(("d", "redundancy"), [(2, 1.5), (5, 2), (12, 1.05), (20, 4), (50, 1.25), (100, 1.05)])
def test_a_hundred_iterations_come_within_two_percent_of_the_linear_program(d, redundancy, law, rng):
    if law in LAWS:
        x = LAWS[law](rng, (2, d)).astype(np.float32)
    else:
        x = np.eye(d, dtype=np.float32)[:2] if law == "spikes" else np.ones((2, d), np.float32)
    frame = Frame.of_redundancy(d, redundancy, seed=1)
    excess = level(exact(x, redundancy, 1), x) / least_levels(x, frame)
    assert (excess > 1 - 1e-5).all()
    assert (excess < 1.02).all()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("d", "redundancy"), [(4096, 1.0625), (4189, 1.1), (4096, 1.25), (4096, 2)])
def test_large_vectors_reach_the_level_of_theory(law, d, redundancy, rng):
    """K(1.1) = 2.13, K(1.25) = 1.84, K(2) = 1.50: sharp for random frames as d grows, whatever the vector."""
    x = LAWS[law](rng, (6, d)).astype(np.float32)
    a = exact(x, redundancy, 0)
    assert level(a, x).mean() == pytest.approx(democratic_level(a.shape[1] / d), rel=0.03)


def test_more_iterations_mean_a_lower_level(rng):
    x = rng.standard_normal((4, 1000)).astype(np.float32)
    levels = [level(exact(x, 1.05, 0, iterations=k), x).mean() for k in (0, 10, 30, 100, 400)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-2] < 1.02 * levels[-1]


def test_a_frame_without_redundancy_has_one_embedding(rng):
    x = rng.standard_normal((2, 96)).astype(np.float32)
    np.testing.assert_array_equal(exact(x, 1, 5), Frame(96, 96, 5).analyse(x))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("redundancy", [1.05, 1.25, 1.5, 2])
@pytest.mark.parametrize("options", [{}, {"solver": "exact"}, {"solver": "exact", "iterations": 3}], ids=str)
def test_the_embedding_stands_for_the_vector(law, redundancy, options, rng):
    x = LAWS[law](rng, (4, 1000)).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=redundancy, seed=2, **options)
    back = evenbits.democratic_inverse(a, length=1000, seed=2)
    np.testing.assert_allclose(back, x, atol=3e-6 * np.linalg.norm(x, axis=1).max())


@pytest.mark.parametrize("law", ["gaussian", "gaussian cubed", "student"])
@pytest.mark.parametrize(("redundancy", "expected"), [(1.25, 2.35), (1.5, 2.08), (2, 1.85)])
def test_levels_are_the_measured_ones(law, redundancy, expected, rng):
    x = LAWS[law](rng, (6, 4096)).astype(np.float32)
    reached = level(evenbits.democratic_embedding(x, redundancy=redundancy, seed=0), x).mean()
    bare = level(Frame.of_redundancy(4096, redundancy, 0).analyse(x), x).mean()
    assert reached == pytest.approx(expected, rel=0.05)
    assert reached < 0.75 * bare


def test_powers_of_two_gain_from_redundancy_too(rng):
    """The frame of the first n / 2 columns would not: it is two copies of one basis."""
    x = rng.standard_normal((8, 1024)).astype(np.float32)
    assert level(evenbits.democratic_embedding(x, redundancy=2, seed=0), x).max() < 2.2


every_solver = pytest.mark.parametrize("solver", ["kashin", "exact"])


@every_solver
def test_without_iterations_it_is_the_near_democratic_embedding(solver, rng):
    x = rng.standard_normal((2, 100)).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=1.5, seed=9, solver=solver, iterations=0)
    np.testing.assert_array_equal(a, Frame.of_redundancy(100, 1.5, 9).analyse(x))


@every_solver
def test_scaling_by_a_power_of_two_scales_the_embedding(solver, rng):
    x = rng.standard_normal((2, 100)).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=1.5, seed=9, solver=solver)
    np.testing.assert_array_equal(evenbits.democratic_embedding(x * 64, redundancy=1.5, seed=9, solver=solver), a * 64)


@every_solver
def test_huge_and_tiny_vectors_stay_what_they_are(solver, rng):
    x = rng.standard_normal((3, 100)).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=1.5, seed=9, solver=solver)
    for exponent in (-120, 124):
        scaled = evenbits.democratic_embedding(np.ldexp(x, exponent), redundancy=1.5, seed=9, solver=solver)
        np.testing.assert_allclose(np.ldexp(scaled, -exponent), a, rtol=1e-4, atol=1e-6)


@every_solver
@pytest.mark.parametrize("workers", [2, 7])
def test_every_number_of_workers_gives_the_same_bytes(isa, workers, solver, rng):
    x = rng.standard_normal((300, 200)).astype(np.float32)
    one = evenbits.democratic_embedding(x, redundancy=1.5, seed=0, solver=solver, iterations=9, workers=1)
    many = evenbits.democratic_embedding(x, redundancy=1.5, seed=0, solver=solver, iterations=9, workers=workers)
    assert many.tobytes() == one.tobytes()


@every_solver
def test_every_float_dtype_and_layout_comes_in(solver, rng):
    x = rng.integers(-9, 9, (4, 3, 20)).astype(np.float32)
    options = {"redundancy": 1.5, "seed": 1, "solver": solver, "iterations": 3}
    a = evenbits.democratic_embedding(x, **options)
    assert a.shape == (4, 3, Frame.of_redundancy(20, 1.5, 1).n)
    for dtype in (np.float16, np.float64, ">f4", np.int8):
        np.testing.assert_array_equal(evenbits.democratic_embedding(x.astype(dtype), **options), a)
    np.testing.assert_array_equal(evenbits.democratic_embedding(np.repeat(x, 2, 0)[::2], **options), a)
    assert evenbits.democratic_embedding(x[:0], **options).shape == (0, *a.shape[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"redundancy": 0.9}, r"redundancy is 0\.9"),
        ({"redundancy": np.inf}, "redundancy is inf"),
        ({"solver": "magic"}, "solver is 'magic'; known are 'kashin', 'exact'"),
        ({"solver": 3}, "solver is 3; known are"),
        ({"solver": "exact", "eta": 0.5}, "eta is 0.5; only solver 'kashin' takes it"),
        ({"solver": "exact", "delta": 1}, "delta is 1; only"),
        ({"solver": "exact", "closing": False}, "closing is False; only"),
        ({"solver": "exact", "iterations": 10_001}, "iterations is 10001"),
        ({"eta": 1.0}, "eta is 1.0"),
        ({"eta": np.nan}, "eta is nan"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"iterations": -1}, "iterations is -1"),
        ({"stream": 2**63}, "stream is"),
        ({"x": np.zeros((2, 0))}, r"x has shape \(2, 0\)"),
        ({"x": np.float32(3)}, r"x has shape \(\)"),
        ({"x": [[1.0, 2.0], [3.0, np.nan]]}, r"x\[1, 1\] is nan"),
    ],
)
def test_names_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        evenbits.democratic_embedding(**{"x": np.ones(8), "redundancy": 1.5, "seed": 0, **change})


def test_inverse_names_impossible_shapes():
    with pytest.raises(ValueError, match="no Hadamard frame of 4 rows and 10 columns"):
        evenbits.democratic_inverse(np.zeros(10), length=4, seed=0)
    with pytest.raises(ValueError, match="length is 9"):
        evenbits.democratic_inverse(np.zeros(8), length=9, seed=0)
    with pytest.raises(ValueError, match=r"a has shape \(3, 0\); its last axis must have at least one element"):
        evenbits.democratic_inverse(np.zeros((3, 0)), length=1, seed=0)


def test_numbers_beyond_float32_are_told_from_infinity():
    with pytest.raises(ValueError, match=r"x\[1, 0\] is 1e\+300, and float32 holds no more than 3.40282e\+38; scale x down"):
        evenbits.democratic_embedding([[1.0, 2.0], [1e300, 1.0]], redundancy=2, seed=0)
    with pytest.raises(ValueError, match=r"x\[1, 1\] is inf"):
        evenbits.democratic_embedding([[1.0, 2.0], [1e300, np.inf]], redundancy=2, seed=0)


@pytest.mark.parametrize("solver", ["kashin", "exact"])
def test_coefficients_beyond_float32_are_an_error(solver):
    with pytest.raises(ValueError, match="x is too large: its coefficients are beyond float32"):
        evenbits.democratic_embedding(np.full(100, 3.3e38), redundancy=1.05, seed=0, solver=solver)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_levels_are_those_of_vectors_of_any_size(size):
    assert level([size, -2 * size], [3 * size, 4 * size]) == pytest.approx(0.4 * 2**0.5)
    assert level(np.zeros((2, 3)), np.zeros((2, 3))).tolist() == [0, 0]


def test_the_core_refuses_foreign_memory():
    frame = Frame(4, 8, 0)
    x, a = np.zeros((2, 4), np.float32), np.zeros((2, 8), np.float32)
    for wrong in (np.zeros((3, 4), np.float32), np.zeros((2, 4))):
        with pytest.raises((TypeError, ValueError)):
            _core.kashin(wrong, frame.support, a, frame.base, frame.signs, 1, 0.5, 1.0, True, 1)
        with pytest.raises((TypeError, ValueError)):
            _core.democratic(wrong, frame.support, a, frame.base, frame.signs, 1, 1)
        with pytest.raises((TypeError, ValueError)):
            _core.spread(wrong, frame.support, a, 8, 1)
        with pytest.raises((TypeError, ValueError)):
            _core.gather(a, frame.support, wrong, 8, 1)
    outside = frame.support + np.uint32(5)
    for call in (
        lambda: _core.kashin(x, outside, a, frame.base, frame.signs, 1, 0.5, 1.0, True, 1),
        lambda: _core.democratic(x, outside, a, frame.base, frame.signs, 1, 1),
        lambda: _core.spread(x, outside, a, 8, 1),
        lambda: _core.gather(a, outside, x, 8, 1),
    ):
        with pytest.raises(ValueError, match=r"support\[\d\] is \d+, not below 8"):
            call()
    with pytest.raises(ValueError, match="base does not make"):
        _core.kashin(x, frame.support, a[:, :7].copy(), frame.base, frame.signs[:7].copy(), 1, 0.5, 1.0, True, 1)


def test_a_frame_takes_vectors_to_its_support_and_back(rng):
    frame, x = Frame(5, 16, 3), rng.standard_normal((2, 3, 5)).astype(np.float32)
    wide = frame.spread(x)
    np.testing.assert_array_equal(wide[..., frame.support], x)
    assert np.count_nonzero(wide) == x.size
    back = np.empty_like(x)
    _core.gather(wide, frame.support, back, 16, 2)
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e30, 3e38])
@pytest.mark.parametrize("solver", ["kashin", "exact"])
def test_vectors_of_any_size_come_back(size, solver, rng):
    x = rng.standard_normal((3, 50))
    x = (x / np.abs(x).max() * size).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=1.5, seed=3, solver=solver)
    back = evenbits.democratic_inverse(a, length=50, seed=3)
    np.testing.assert_allclose(back / size, x / size, atol=1e-6)
