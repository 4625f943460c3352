import contextlib
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits import decode, quantize
from evenbits.axes import APART, rotate, rotate_back
from evenbits.meaning import Meaning
from evenbits.orthogonal import KINDS
from evenbits.products import linear
from evenbits.quantizers import Kashin
from evenbits.spec import EncodedError, Spec, canonical_json

PAPER = {"refine": False}
FORMS = ("vector", "matrix", "tensor")


def nmse(x, encoded):
    x = np.asarray(x, np.float64)
    return float(((x - decode(encoded)) ** 2).sum() / (x**2).sum())


def available(transform):
    if transform == "dct":
        pytest.importorskip("scipy")


def again(encoded):
    """What a file would hold: bytes and text."""
    planes = {name: np.frombuffer(p.tobytes(), p.dtype).reshape(p.shape) for name, p in encoded.planes.items()}
    return evenbits.Encoded(planes, json.loads(canonical_json(encoded.spec)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("transform", [t for t in KINDS if t != "householder"])
def test_every_form_and_transform_has_the_error_of_the_method(form, transform, rng):
    available(transform)
    x = rng.standard_normal((48, 64))
    for options, expected in (({}, 0.0085), (PAPER, 0.0168)):
        e = quantize(x, 4, "kashin", form=form, transform=transform, **options)
        assert e.method == "kashin"
        assert nmse(x, e) == pytest.approx(expected, rel=0.12)
        np.testing.assert_array_equal(decode(again(e)), decode(e))
        assert e.spec.get("portable", True) is (transform != "dct")
        assert e.nbytes == Kashin(4, form=form, transform=transform, **options).nbytes(x.shape, "float64")


def test_a_reflection_does_not_decompose_and_its_array_goes_to_the_fallback(rng):
    x = rng.standard_normal((8, 256))
    with pytest.warns(RuntimeWarning, match="decomposition left .*; take more; encoded by 'near_democratic' instead, at 4 bits"):
        e = quantize(x, 4, "kashin", transform="householder", **PAPER)
    assert e.method == "near_democratic"


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("transform", ["involution", "butterfly", "dense"])
def test_a_matrix_is_what_its_planes_say(transform, rotated, rng):
    """X = R_1^T (U + P_1 V P_2^T) R_2 scale, with the matrices written out."""
    x = rng.standard_normal((12, 24))
    e = quantize(x, 4, "kashin", form="matrix", transform=transform, rotate=rotated, seed=3, stream=5)
    codes = evenbits.unpack(e.planes["codes"], 4, x.size).reshape(x.shape)
    u, v = (level[codes].astype(np.float64) for level in e.planes["levels"])
    p, r = [], []
    for k, n in enumerate(x.shape):
        p.append(KINDS[transform](n, 3, 5, k << APART)(np.eye(n, dtype=np.float32)).T)
        signs = evenbits.random_signs(3, 5, n, first=k << APART)
        h = evenbits.hadamard_transform(np.eye(n), n**-0.5)
        r.append(h * signs if rotated else np.eye(n))
    expected = r[0].T @ (u + p[0] @ v @ p[1].T) @ r[1] * e.planes["scales"]
    np.testing.assert_allclose(decode(e), expected, atol=1e-5)
    assert e.planes["scales"].size == 1


def test_tensors_have_a_transform_along_every_axis(rng):
    x = rng.standard_normal((5, 6, 40))
    e = quantize(x, 4, "kashin", form="tensor", scale_dtype="float16")
    assert e.spec["basis"] == {"axes": [8, 8, 40]}
    assert e.planes["scales"].shape == (1, 1)
    e = quantize(x, 4, "kashin", form="tensor", transform="dense", rotate=False)
    assert e.spec["basis"] == {"transform": "dense", "axes": [5, 6, 40]}
    assert nmse(x, e) < 0.011


@pytest.mark.parametrize("workers", [1, 3])
def test_matrices_of_a_stack_are_encoded_one_by_one(workers, rng):
    x = rng.standard_normal((3, 20, 33)) * np.array([1, 100, 0.01])[:, None, None]
    options = {"form": "matrix", "codebook": "row", "transform": "dense", "iterations": 9}
    e = quantize(x, 3, "kashin", workers=workers, **options)
    alone = np.stack([decode(quantize(m, 3, "kashin", **options)) for m in x])
    np.testing.assert_array_equal(decode(e, workers=workers), alone)


@pytest.mark.parametrize("law", ["gaussian", "student", "spike"])
def test_products_fail_on_heavy_tails_and_a_rotation_along_both_axes_cures_them(law, rng):
    """The first paper's layers that do not converge, which are reported, and never kept in 16 bits on the quiet."""
    laws = {"gaussian": rng.standard_normal((64, 64)), "student": rng.standard_t(2, (64, 64)), "spike": np.eye(1, 4096)}
    x = laws[law].reshape(64, 64)
    e = quantize(x, 4, "kashin", form="matrix", **PAPER)
    assert (e.method, e.error(x) < 0.14) == ("kashin", True)
    if law == "gaussian":
        assert quantize(x, 4, "kashin", form="matrix", rotate=False, **PAPER).method == "kashin"
        return
    with pytest.warns(RuntimeWarning, match="is 200: the decomposition left .*, or rotate; encoded by 'near_democratic'"):
        e = quantize(x, 4, "kashin", form="matrix", rotate=False, iterations=200, **PAPER)
    assert e.method == "near_democratic"


@pytest.mark.parametrize("options", [{"form": "tensor"}, {"form": "matrix", "transform": "dense", "codebook": "row"}], ids=str)
def test_files_hold_every_form(options, tmp_path, rng):
    x = rng.standard_normal((2, 6, 20)).astype(np.float32)
    e = quantize(x, 3, "kashin", **options)
    evenbits.save(tmp_path / "x.safetensors", {"x": e})
    back = evenbits.load(tmp_path / "x.safetensors", verify=True)["x"]
    np.testing.assert_array_equal(decode(back), decode(e))
    assert back.error(x) == e.error(x) == pytest.approx(np.sqrt(nmse(x, e)))


def test_axes_are_rotated_one_after_the_other_and_back(rng):
    x = rng.standard_normal((2, 3 * 10 * 16)).astype(np.float32)
    y = rotate(x, (3, 10, 16), (4, 12, 16), 1, 2)
    assert y.shape == (2, 4 * 12 * 16)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(rotate_back(y, (3, 10, 16), (4, 12, 16), 1, 2), x, atol=1e-5)


@pytest.mark.parametrize("transform", ["butterfly", "dct", "dense", "householder"])
def test_other_transforms_take_rows_of_any_length(transform, rng):
    available(transform)
    x = rng.standard_normal((3, 37))
    e = quantize(x, 4, "kashin", transform=transform, rotate=False)
    assert "embedding" not in e.spec
    assert decode(e).shape == x.shape


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (0, 5), (3, 0), (2, 0, 3), (1, 1), (2, 3), (2, 1, 5)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("transform", ["involution", "butterfly"])
def test_every_shape_is_encoded_or_refused_with_its_name(shape, form, transform, rng):
    x = rng.standard_normal(shape)
    if form == "matrix" and len(shape) < 2:
        with pytest.raises(ValueError, match=r"form is 'matrix'; x has shape \("):
            quantize(x, 4, "kashin", form=form)
        return
    e = quantize(x, 4, "kashin", form=form, transform=transform, codebook="row")
    assert decode(again(e)).shape == shape
    assert canonical_json(Spec.parse(e.spec).to_dict()) == canonical_json(e.spec)


@pytest.mark.parametrize("bits", [0.5, 1, 1.5, 2.6, 4, 5.25, 8])
@pytest.mark.parametrize("options", [{}, PAPER, {"clusters": "joint"}, {"form": "matrix", "second": 2}], ids=str)
def test_a_codebook_a_row_makes_rows_independent_and_is_counted(bits, options, rng):
    x = rng.standard_normal((4, 6, 32)) ** 3
    e = quantize(x, bits, "kashin", codebook="row", **options)
    assert e.nbytes == Kashin(bits, codebook="row", **options).nbytes(x.shape, "float64")
    assert e.planes["levels"].dtype == np.float16
    assert e.nbytes == sum(p.nbytes for p in e.planes.values()) + len(canonical_json(e.spec))
    np.testing.assert_array_equal(decode(again(e))[1], decode(quantize(x[1], bits, "kashin", codebook="row", **options)))


def test_rows_that_begin_with_either_factor_need_codebooks_of_their_own(rng):
    """The greedy schedule of the first paper: with one codebook for all rows .054, with one each the paper's error."""
    x = rng.standard_normal((8, 4096))
    options = {"schedule": "greedy", **PAPER}
    assert nmse(x, quantize(x, 4, "kashin", codebook="row", **options)) == pytest.approx(0.0164, abs=0.001)
    assert nmse(x, quantize(x, 4, "kashin", **options)) > 0.04
    e = quantize(x, 4, "kashin", codebook="row", **options)
    assert e.planes["levels"].nbytes == 8 * 8 * 2
    assert e.spec["books"] == [4, 4]


def test_unlike_rows_without_a_rotation_are_better_with_codebooks_of_their_own(rng):
    x = np.concatenate([rng.standard_normal((4, 1024)), np.sign(rng.standard_normal((4, 1024)))])
    tensor, row = (nmse(x, quantize(x, 3, "kashin", rotate=False, codebook=c, **PAPER)) for c in ("tensor", "row"))
    assert row < 0.9 * tensor


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_k_means_from_the_peaks_of_the_first_steps_ends_where_it_does_from_anywhere(bits, rng, monkeypatch):
    x = rng.standard_normal((3, 2048))
    options = {"codebook": "row", **PAPER}
    from_peaks = nmse(x, quantize(x, bits, "kashin", **options))
    monkeypatch.setattr("evenbits.quantizers.pairs.PairWalk._peaks", lambda *arguments: None)
    assert from_peaks == pytest.approx(nmse(x, quantize(x, bits, "kashin", **options)), rel=0.002)


RATES = (1, 1.25, 1.5, 2, 2.32, 2.6, 2.9, 3, 3.2, 3.5, 4, 4.3, 4.7, 5, 5.25, 6, 6.5, 7, 8)


@pytest.mark.parametrize("options", [{}, PAPER, {"schedule": "greedy", "codebook": "row", **PAPER}], ids=str)
def test_more_bits_never_mean_more_error(options, rng):
    x = rng.standard_normal((4, 1024))
    errors = [nmse(x, quantize(x, bits, "kashin", **options)) for bits in RATES]
    assert all(later < 1.005 * earlier for earlier, later in itertools.pairwise(errors))
    assert errors[0] > 300 * errors[-1]


def test_the_levels_of_both_factors_are_those_of_least_error():
    """Of u four times as many as of v first, then four of v, then sixteen of both, as the schedule makes them."""
    q = Kashin(4, **PAPER)
    pairs = [q.levels_of_pair(count) for count in (2, 4, 5, 8, 12, 16, 38, 64, 128, 256)]
    assert pairs == [(2, 1), (4, 1), (5, 1), (4, 2), (4, 3), (4, 4), (9, 4), (16, 4), (16, 8), (16, 16)]


@pytest.mark.parametrize("options", [{"transform": "butterfly"}, {"codebook": "row"}, {"codebook": "row", "clusters": "joint"}])
def test_weights_are_multiplied_as_they_are_packed(options, rng):
    w, x = rng.standard_normal((7, 96)), rng.standard_normal((3, 96)).astype(np.float32)
    for bits in (0.6, 3.3, 4):
        e = quantize(w, bits, "kashin", **options)
        np.testing.assert_allclose(linear(x, e), x @ decode(e).T.astype(np.float32), atol=2e-4)


@pytest.mark.parametrize("bits", [0.6, 1, 2, 4, 8])
@pytest.mark.parametrize("transform", ["involution", "butterfly"])
def test_both_factors_are_multiplied_packed_with_activations_of_8_bits_too(transform, bits, rng):
    w, x = rng.standard_normal((40, 96)), rng.standard_normal((5, 96)).astype(np.float32)
    e = quantize(w, bits, "kashin", transform=transform)
    expected = x @ decode(e).T
    for activations, error in (("float32", 1e-6), ("int8", 0.015)):
        y = linear(x, e, activations=activations)
        assert np.linalg.norm(y - expected) < error * np.linalg.norm(expected)
    assert np.isnan(linear(np.full(96, np.nan, np.float32), e)).all()
    with pytest.raises(ValueError, match="x is too large"):
        linear(np.full(96, 3e38, np.float32), e, activations="int8")


def test_arrays_of_several_axes_as_one_row_are_not_multiplied_packed(rng):
    with pytest.raises(ValueError, match="weights is an array of 2 axes as one row; decode it first"):
        linear(np.ones(8, np.float32), quantize(np.ones((4, 8)), 4, "kashin", form="matrix"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_whatever_comes_in_is_decomposed_in_float32(dtype, rng):
    """More than 65504 entries: their signs have an infinite norm in float16."""
    x = rng.standard_normal((272, 272)).astype(dtype)
    e = quantize(x, 4, "kashin", form="matrix", **PAPER)
    assert (e.method, e.dtype) == ("kashin", dtype)
    assert nmse(x, e) < 0.018


@pytest.mark.parametrize("budget", [1.3, 3.3])
@pytest.mark.parametrize("form", FORMS)
def test_the_fallback_keeps_to_the_bytes_of_the_budget_and_to_its_own_without_one(form, budget, rng):
    x = rng.standard_normal((12, 256))
    options = {"iterations": 1, "form": form, "scale_dtype": "float16", **PAPER}
    with pytest.warns(RuntimeWarning, match="encoded by 'near_democratic' instead"):
        assert quantize(x, method="kashin", budget=budget, **options).bits_per_value <= budget
    for bits in (1.5, 4):
        with pytest.warns(RuntimeWarning, match="encoded by 'near_democratic' instead"):
            assert quantize(x, bits, "kashin", **options).nbytes <= Kashin(bits, **options).nbytes(x.shape, "float64")


def test_where_not_even_the_fallback_fits_nothing_is_encoded(rng):
    with pytest.raises(ValueError, match=r"row 0 .*and the fallback, 'near_democratic', takes more bytes"):
        quantize(rng.standard_normal((60, 8)), 1, "kashin", form="matrix", iterations=1, **PAPER)


@pytest.mark.parametrize("budget", ["1.2", "2.5", "12kB"])
def test_a_models_budget_holds_where_decompositions_fail(budget, tmp_path, rng):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    from evenbits.models import quantize_model

    tensors = {f"w{i}": rng.standard_normal((16, 512)).astype(np.float32) for i in range(3)}
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.warns(RuntimeWarning, match="near_democratic"):
        report = quantize_model(
            tmp_path / "m.safetensors", tmp_path / "q.safetensors", budget=budget, method="kashin", iterations=1, **PAPER
        )
    values = sum(t.size for t in tensors.values())
    if budget.endswith("B"):
        assert 11_000 < (tmp_path / "q.safetensors").stat().st_size <= 12_000
    else:
        assert 8 * sum(row.after for row in report.rows) <= float(budget) * values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "cube"}, "form is 'cube'; known are 'vector', 'matrix', 'tensor'"),
        ({"transform": "fourier"}, "transform is 'fourier'; known are 'involution', 'dct'"),
        ({"codebook": "column"}, "codebook is 'column'"),
        ({"transform": "dense", "x": np.ones((1, 4200))}, "transform is 'dense'; a dense matrix of order 4352 .*form='matrix'"),
        ({"form": "matrix", "rotate": False, "x": np.ones((4, 50))}, "rotate is False; no Hadamard matrix of order 50"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        quantize(**{"x": np.ones((2, 8)), "bits": 4, "method": "kashin", **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": {"transform": "wave"}}, "spec.basis.transform is 'wave'"),
        ({"basis": {"axes": [16, 68]}}, r"spec.basis.axes is \[16, 68\], which does not make rows of 1024"),
        ({"basis": {"axes": [2, 512]}}, r"spec.basis.axes is \[2, 512\]; it must be lengths of the last axes of \[16, 64\]"),
        ({"basis": {"axes": [16]}}, "spec.basis.axes is"),
        ({"basis": {"axes": "all"}}, "spec.basis.axes is 'all'"),
        ({"basis": {"axes": [1.0, 2]}}, "spec.basis.axes is"),
        ({"basis": {"axes": [16, 64], "more": 1}}, "spec.basis.more is unknown"),
        ({"basis": {"transform": "dct", "axes": [16, 64]}}, "spec.portable is True; it must be false"),
        ({"portable": 1}, "spec.portable is 1"),
        ({"books": "tensor"}, "spec.books is 'tensor'"),
        ({"books": [4]}, r"spec.books is \[4\]; it must be 'row' or 2 numbers"),
        ({"books": [4, 5]}, r"spec.books is \[4, 5\], more pairs than codes"),
        ({"books": [0, 4]}, "spec.books is"),
        ({"grid": "table", "embedding": {"kind": "hadamard", "length": 64}}, "spec.basis is unknown"),
    ],
)
def test_wrong_specs_name_the_key(change, message):
    spec = quantize(np.ones((16, 64), np.float32), 4, "kashin", form="matrix").spec
    with pytest.raises(EncodedError, match=message):
        Spec.parse({**spec, **change})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.sampled_from(["axes", "transform", "row", *KINDS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["axes", "transform", "x"]), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.sampled_from(["basis", "books", "portable", "embedding"]), JSON)
def test_any_json_in_the_new_keys_is_read_or_refused(key, value):
    for form in ("matrix", "vector"):
        spec = Kashin(2.5, form=form, codebook="row").spec((16, 64)).to_dict() | {key: value}
        with contextlib.suppress(EncodedError):
            Spec.parse(spec)


def test_codes_beyond_all_pairs_mean_the_last_pair(rng):
    e = quantize(rng.standard_normal((2, 64)), 2.5, "kashin", codebook="row", rotate=False)
    assert (e.spec["codes"][0], e.spec["books"]) == (5, [2, 2, 3, 2])
    levels = e.planes["levels"].astype(np.float32)
    books = Meaning(Spec.parse(e.spec), e.planes["levels"]).books(0, 2)
    np.testing.assert_array_equal(books[:, 0, :5], levels[:, [0, 1, 0, 1, 1]])
    np.testing.assert_array_equal(books[:, 1, :5], levels[:, [2, 2, 3, 3, 3]])
    np.testing.assert_array_equal(books[:, 0, 5:], levels[:, [4, 5, 6, 4, 5, 6]])


def test_planes_of_rows_codebooks_are_checked(rng):
    e = quantize(rng.standard_normal((3, 32)), 4, "kashin", codebook="row")
    no_number = np.full((3, 10), np.nan, np.float16)
    for levels, message in ((e.planes["levels"][:2], "plane 'levels' is float16"), (no_number, "not finite")):
        with pytest.raises(EncodedError, match=message):
            decode(evenbits.Encoded({**e.planes, "levels": levels}, e.spec))
    planes = {**e.planes, "codes": rng.integers(0, 256, e.planes["codes"].shape, dtype=np.uint8)}
    assert np.isfinite(decode(evenbits.Encoded(planes, e.spec))).all()


def test_rows_of_all_zeros_and_of_huge_numbers_come_back(rng):
    x = np.zeros((2, 3, 16))
    x[1] = rng.standard_normal((3, 16)) * 1e300
    for form in FORMS:
        y = decode(quantize(x, 4, "kashin", form=form, codebook="row", scale_dtype="float64"))
        assert np.isfinite(y).all()
        if form != "tensor":
            assert not y[0].any()
        assert math.isclose(np.linalg.norm(y[1] / 1e300), np.linalg.norm(x[1] / 1e300), rel_tol=0.1)
