import warnings

import numpy as np
import pytest

import evenbits
from evenbits import _core, decode, quantize
from evenbits.decomposition import Involution
from evenbits.products import linear
from evenbits.quantizers import Kashin
from evenbits.quantizers.pairs import kmeans_pairs, nearest_pair
from evenbits.reference import joint as reference

LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian cubed": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student": lambda rng, shape: rng.standard_t(2, shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.01),
    "spike": lambda rng, shape: np.eye(*shape),
}
PAPER = {"refine": False}


def nmse(x, encoded):
    x = np.asarray(x, np.float64)
    return float(np.mean(((x - decode(encoded)) ** 2).sum(-1) / (x**2).sum(-1)))


@pytest.mark.parametrize("n", [1, 2, 16, 24, 128, 768])
def test_the_involution_is_symmetric_and_its_own_inverse(n):
    involution = Involution(n, 1, 2)
    matrix = involution(np.eye(n, dtype=np.float32))
    np.testing.assert_allclose(matrix, matrix.T, atol=3e-6)
    np.testing.assert_allclose(involution(matrix), np.eye(n), atol=1e-5)


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("n", [1, 4, 16, 24, 160, 768])
def test_the_split_equals_the_reference_bit_for_bit(isa, n, greedy, rng):
    x, p = rng.standard_normal((3, n)).astype(np.float32) ** 3, Involution(n, 5, 0)
    x[1] = 0
    u, v, left = np.empty_like(x), np.empty_like(x), np.empty(3)
    _core.kashin_split(x, u, v, p.base, p.signs, greedy, 13, 1e-6, left, 1)
    for found, expected in zip((u, v, left), reference.kashin_split(x, p.base, p.signs, greedy, 13, 1e-6), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("n", "split"), [(1, 0), (4, 4), (16, 3), (24, 24), (160, 100), (768, 0)])
@pytest.mark.parametrize(
    ("levels", "peaks"),
    [
        ((4, 2, 3, 1), (0.9, 0.6, 1.2, 0)),
        ((2, 2, 2, 2), (0.65,) * 4),
        ((16, 16, 7, 5), (0.8, 0.8, 0.8, 0.7)),
        ((1, 1, 1, 9), (0, 0, 0, 1)),
    ],
)
def test_joint_codes_equal_the_reference_bit_for_bit(isa, n, split, levels, peaks, rng):
    x, p = rng.standard_normal((3, n)).astype(np.float32) ** 3, Involution(n, 5, 0)
    x[1] = 0
    codes = np.empty(x.shape, np.uint8)
    arguments = split, levels, peaks, 9, 0.9, 0.2
    _core.kashin_joint(x, codes, p.base, p.signs, *arguments, 1)
    np.testing.assert_array_equal(codes, reference.kashin_joint(x, p.base, p.signs, *arguments))


def test_the_kernels_refuse_what_does_not_fit():
    x, base, left, codes = np.zeros((2, 8), np.float32), np.ones((1, 1), np.int8), np.zeros(2), np.zeros((2, 8), np.uint8)
    short = np.zeros(15, np.float32)
    for u, v, signs, rest in ((short, x, x[0], left), (x, short, x[0], left), (x, x, x[0, :7], left), (x, x, x[0], left[:1])):
        with pytest.raises((ValueError, TypeError)):
            _core.kashin_split(x, u, v, base, signs, True, 3, 1e-6, rest, 1)
    good = 8, (2, 2, 2, 2), (1.0,) * 4, 3, 0.9, 0.2, 1
    for out, arguments in (
        (codes[:1], good),
        (codes, (9, *good[1:])),
        (codes, (8, (2, 0, 2, 2), *good[2:])),
        (codes, (8, (2, 257, 2, 2), *good[2:])),
        (codes, (8, (2, 2, 2, 1), *good[2:])),
        (codes, (*good[:2], (1.0, 1.0, 1.0, np.nan), *good[3:])),
    ):
        with pytest.raises(ValueError):
            _core.kashin_joint(x, out, base, x[0], *arguments)


@pytest.mark.parametrize("schedule", ["greedy", "alternating"])
@pytest.mark.parametrize("law", LAWS)
def test_the_decomposition_converges_on_every_law(law, schedule, rng):
    """29 to 37 steps greedily at n = 4096; both factors are small everywhere."""
    x = LAWS[law](rng, (4, 4096)).astype(np.float32)
    p = Involution(4096, 3, 0)
    u, v, left = p.split(x, schedule, 60, 1e-6)
    assert (left <= 1e-6).all()
    back = (u + p(v)) * np.sqrt((x.astype(np.float64) ** 2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(back, x, atol=4e-6 * np.linalg.norm(x, axis=1).max())
    assert max(np.abs(u).max(), np.abs(v).max()) < 5


def test_a_step_takes_the_square_of_the_mean_magnitude_off_the_residual(rng):
    x, p = rng.standard_normal((1, 512)), Involution(512, 0, 0)
    r = x / np.sqrt((x**2).mean())
    for steps in range(1, 8):
        largest = max(np.abs(r).mean(), np.abs(p(r.astype(np.float32)).astype(np.float64)).mean())
        u, v, left = p.split(x.astype(np.float32), "greedy", steps, 1e-6)
        r_next = x / np.sqrt((x**2).mean()) - u - p(v)
        assert left[0] ** 2 == pytest.approx((r**2).mean() - largest**2, rel=1e-5)
        r = r_next


def test_two_steps_of_the_alternating_schedule_make_the_four_peaks_of_the_paper(rng):
    u = Involution(65536, 0, 0).split(rng.standard_normal((1, 65536)).astype(np.float32), "alternating", 2, 1e-6)[0]
    np.testing.assert_allclose(np.unique(np.round(u, 6)), [-1.280, -0.315, 0.315, 1.280], atol=0.01)


def test_two_and_two_bits_have_the_papers_error(rng):
    x = rng.standard_normal((16, 4096))
    assert nmse(x, quantize(x, 4, "kashin", **PAPER)) == pytest.approx(0.0165, abs=0.001)


@pytest.mark.parametrize("clusters", ["separate", "joint"])
@pytest.mark.parametrize("schedule", ["greedy", "alternating"])
def test_with_a_codebook_of_its_own_a_row_has_the_papers_error_by_either_schedule(schedule, clusters, rng):
    rows = rng.standard_normal((4, 1, 4096))
    options = {"schedule": schedule, "clusters": clusters, **PAPER}
    assert np.mean([nmse(x, quantize(x, 4, "kashin", **options)) for x in rows]) == pytest.approx(0.0165, abs=0.001)


@pytest.mark.parametrize("law", ["gaussian", "gaussian cubed", "student"])
def test_with_a_rotation_the_error_does_not_depend_on_the_law(law):
    rng = np.random.default_rng(1)
    x = LAWS[law](rng, (16, 4096))
    assert 0.014 < nmse(x, quantize(x, 4, "kashin", **PAPER)) < 0.0175


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.078), (3, 0.0262), (4, 0.0084)])
def test_deciding_both_factors_together_beats_lloyd_max(bits, expected, rng):
    x = rng.standard_normal((16, 4096))
    error = nmse(x, quantize(x, bits, "kashin"))
    assert error == pytest.approx(expected, rel=0.05)
    assert error < 0.92 * nmse(x, quantize(x, bits))
    assert error < 0.8 * nmse(x, quantize(x, bits, "kashin", **PAPER))


@pytest.mark.parametrize("schedule", ["greedy", "alternating"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5.2])
def test_joint_clusters_are_at_least_as_good_as_separate_ones(schedule, bits, rng):
    x = rng.standard_normal((8, 1024)) ** 3
    options = {"schedule": schedule, **PAPER}
    joint, separate = (nmse(x, quantize(x, bits, "kashin", clusters=c, **options)) for c in ("joint", "separate"))
    assert joint < 1.02 * separate


@pytest.mark.parametrize("options", [{}, PAPER, {"clusters": "joint"}, {"second": 4}, {"rotate": False}], ids=str)
def test_weights_are_multiplied_without_decoding_the_rotation(options, rng):
    w, x = rng.standard_normal((7, 96)), rng.standard_normal((3, 96)).astype(np.float32)
    for bits in (0.6, 2, 3.3, 4):
        e = quantize(w, bits, "kashin", **options)
        np.testing.assert_allclose(linear(x, e), x @ decode(e).T.astype(np.float32), atol=2e-4)


@pytest.mark.parametrize("fallback", ["near_democratic", "error"])
def test_a_row_that_does_not_converge_is_reported_and_encoded_by_the_named_method(fallback, rng):
    x = rng.standard_normal((4, 64))
    arguments = {"iterations": 3, "seed": 5, "fallback": fallback, **PAPER}
    message = r"iterations is 3: the decomposition left 0\.\d+ of row 0 "
    if fallback == "error":
        with pytest.raises(ValueError, match=message):
            quantize(x, 4, "kashin", **arguments)
        return
    with pytest.warns(RuntimeWarning, match=message + ".*encoded by 'near_democratic' instead"):
        e = quantize(x, 4, "kashin", **arguments)
    assert e.spec == quantize(x, 4, seed=5).spec
    np.testing.assert_array_equal(e.decode(), decode(quantize(x, 4, seed=5)))
    assert e.nbytes <= Kashin(4, **arguments).nbytes(x.shape, "float64")


def test_the_tolerance_is_what_a_row_may_leave(rng):
    x = rng.standard_normal((4, 64)).astype(np.float32)
    options = {"iterations": 3, "rotate": False, "fallback": "error", **PAPER}
    left = Involution(64, 0, 0).split(x, "alternating", 3, 1e-6)[2].max()
    assert quantize(x, 4, "kashin", tolerance=1.001 * left, **options).method == "kashin"
    with pytest.raises(ValueError, match="of 1 rows"):
        quantize(x, 4, "kashin", tolerance=0.999 * left, **options)


@pytest.mark.parametrize("budget", [1.1, 1.35, 1.6, 1.8, 4.0])
def test_a_budget_holds_for_the_fallback_too(budget, rng):
    x = rng.standard_normal((8, 256))
    with pytest.warns(RuntimeWarning, match="near_democratic"):
        e = quantize(x, method="kashin", budget=budget, iterations=1, scale_dtype="float16", **PAPER)
    assert (e.method, e.spec["scales"]["dtype"]) == ("near_democratic", "float16")
    assert e.bits_per_value <= budget


def test_the_fallback_spends_a_budget_that_pairs_can_not(rng):
    x = rng.standard_normal((64, 256))
    with pytest.warns(RuntimeWarning, match=r"near_democratic' instead, at 11\."):
        e = quantize(x, method="kashin", budget=12, iterations=1, **PAPER)
    assert 11 < e.bits_per_value <= 12
    assert e.error(x) < 0.002


def test_one_basis_alone_has_up_to_256_levels(rng):
    x = rng.standard_normal((8, 256))
    e = quantize(x, 8, "kashin", second=1, **PAPER)
    assert np.unique(e.planes["codes"]).size > 200
    assert not np.diff(e.planes["levels"][1]).any()


def test_convergence_is_silent(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize(np.vstack([np.zeros(64), rng.standard_t(1, (9, 64))]), 4, "kashin", **PAPER)


def test_without_a_rotation_rows_need_a_length_of_a_hadamard_matrix():
    with pytest.raises(ValueError, match="rotate is False; no Hadamard matrix of order 50 is known"):
        quantize(np.ones((2, 50)), 4, "kashin", rotate=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": "three"}, "clusters is 'three'"),
        ({"schedule": "random"}, "schedule is 'random'"),
        ({"clusters": "joint", "refine": True}, "refine is True; it decides"),
        ({"clusters": "joint", "second": 2}, "second is 2; that is for"),
        ({"second": 0}, "second is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"fallback": "float16"}, "fallback is 'float16'; known are"),
        ({"fit": "unbiased"}, "fit is 'unbiased'"),
        ({"bits": 9}, "no grid 'pairs' of 512 levels"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        quantize(np.ones((2, 8)), **{"bits": 4, "method": "kashin", **options})


@pytest.mark.parametrize("name", ["refine", "rotate"])
def test_words_are_neither_true_nor_false(name):
    with pytest.raises(TypeError, match=f"{name} is 'no'; it must be True or False"):
        evenbits.quantize(np.ones(8), 2, "kashin", **{name: "no"})


def test_specs_that_no_decoder_understands_are_refused():
    spec = dict(quantize(np.ones((2, 50), np.float32), 4, "kashin").spec)
    del spec["embedding"]
    with pytest.raises(evenbits.EncodedError, match=r"spec\.shape ends with 50; no transform has that length"):
        evenbits.spec.Spec.parse(spec)
    with pytest.raises(evenbits.EncodedError, match="per must be 'row' or 'tensor'"):
        evenbits.spec.Spec.parse({**spec, "shape": [2, 48], "scales": {"dtype": "float32", "per": 16}})


def test_pairs_go_to_the_nearest_centre_and_of_equals_to_the_first():
    book = np.array([[0, 1, 1, 5], [0, 0, 0, 5]])
    u, v = np.array([0.4, 0.5, 0.6, 9], np.float32), np.zeros(4, np.float32)
    np.testing.assert_array_equal(nearest_pair(u, v, book), [0, 0, 1, 3])


def test_two_dimensional_k_means_finds_clusters_it_was_not_started_at(rng):
    centres = np.array([[0, 0, 4, 4, 8], [0, 4, 0, 4, 2]], np.float64)
    points = centres[:, rng.integers(0, 5, 4000)] + 0.1 * rng.standard_normal((2, 4000))
    book = kmeans_pairs(points[0].astype(np.float32), points[1].astype(np.float32), np.array([[1.0], [1.0]]), 5)
    np.testing.assert_allclose(book[:, np.lexsort(np.round(book[::-1]))], centres, atol=0.05)
