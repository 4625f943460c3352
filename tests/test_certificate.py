import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import evenbits
from evenbits import Encoded, EncodedError, quantize
from evenbits._certificate import distances
from evenbits.models import inspect_model, quantize_model
from evenbits.models.report import ceiling_text

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def square(x, y):
    """|x - y|^2 as it is."""
    return sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, y, strict=True))


def assert_bounds(bounds, x, y, tight=True):
    """They hold, and no better ones of float32 would, nearly."""
    for bound, a, b in zip(bounds.reshape(-1), x.reshape(bounds.size, -1), y.reshape(bounds.size, -1), strict=True):
        true, below = square(a, b), max(Fraction(float(bound)) - Fraction(2) ** -149, 0)
        assert true <= Fraction(float(bound)) ** 2
        assert not tight or below**2 <= true * Fraction(1 + 2.0**-22) ** 2


@pytest.mark.parametrize("method", evenbits.methods())
def test_no_row_is_farther_off_than_its_certificate_says(isa, method, rng):
    for dtype in DTYPES:
        x = (rng.standard_normal((3, 24)) * 10.0 ** np.array([[0], [3], [-3]])).astype(dtype)
        x[1, :20] = 0
        e = quantize(x, 2, method, certificate=True)
        assert e.planes["errors"].dtype == np.float32 and e.planes["errors"].shape == (3,)
        assert_bounds(e.certified_error(), x, e.decode(), tight=dtype is not ml_dtypes.bfloat16)  # they are of float32, too


@settings(max_examples=60)
@given(st.data(), st.integers(1, 9), st.sampled_from([np.float32, np.float64]))
def test_distances_hold_for_any_numbers(data, n, dtype):
    width = 8 * np.dtype(dtype).itemsize
    numbers = st.floats(width=width, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)
    x, y = (np.array([data.draw(st.lists(numbers, min_size=n, max_size=n))], dtype) for _ in range(2))
    assert_bounds(distances(x, y), x, y)
    assert distances(x, x) == 0


def test_distances_of_long_rows_hold(rng):
    for n in (1000, 4097):
        x, y = rng.standard_normal((2, 1, n))
        assert_bounds(distances(x, y), x, y)


@pytest.mark.parametrize("method", ["trellis", "entropy_trellis", "uniform"])
@pytest.mark.parametrize("size", [1e-300, 1e-42, 1e30])
def test_rows_of_any_size_are_certified(method, size, rng):
    x = rng.standard_normal((2, 64)) * size
    for dtype in (np.float64, np.float32):
        options = {} if method == "entropy_trellis" else {"scale_dtype": "float64"}
        e = quantize(x.astype(dtype), 3, method, certificate=True, **options)
        assert_bounds(e.certified_error(), x.astype(dtype), e.decode())


def test_zeros_are_certain():
    assert not quantize(np.zeros((3, 8)), 2, certificate=True).certified_error().any()


def test_integers_are_not_rounded_first():
    x = np.array([[2**31 - 1, 3, 5, 2**30 + 1]], np.int32)
    e = quantize(x, 8, certificate=True)
    assert_bounds(e.certified_error(), x, e.decode())


def test_without_ml_dtypes_bfloat16_keeps_its_certificate(rng, monkeypatch):
    x = rng.standard_normal((4, 32)).astype(ml_dtypes.bfloat16)
    e = quantize(x, 6, certificate=True)
    found = e.decode()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    other = e.decode()
    assert found.dtype != other.dtype == np.float32
    for y in (found, other):
        assert (np.linalg.norm(x.astype(float) - y.astype(float), axis=1) <= e.certified_error()).all()
    np.testing.assert_array_equal(Encoded(e.planes, e.spec).certified(x.astype(np.float32)).planes["errors"], e.planes["errors"])


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (2, 3, 16)])
def test_there_is_a_bound_for_every_row(shape, rng):
    x = rng.standard_normal(shape)
    e = quantize(x, 3, certificate=True)
    assert e.certified_error().shape == shape[:-1]
    assert (np.linalg.norm(np.atleast_1d(x - e.decode()), axis=-1) <= e.certified_error() * (1 + 1e-15)).all()


def test_matrices_that_are_one_row_have_one_bound(rng):
    x = rng.standard_normal((3, 8, 12))
    e = quantize(x, 3, "kashin", form="matrix", certificate=True)
    assert e.certified_error().shape == (3,)
    assert_bounds(e.certified_error(), x, e.decode())


def test_a_certificate_is_counted_and_changes_nothing_else(rng):
    x = rng.standard_normal((20, 100))
    for method in ("trellis", "entropy_trellis"):
        plain, certified = (quantize(x, 2, method, certificate=c) for c in (False, True))
        assert certified.spec == plain.spec and certified.nbytes == plain.nbytes + 80
        assert certified.planes.keys() == {*plain.planes, "errors"}
        for name, plane in plain.planes.items():
            np.testing.assert_array_equal(certified.planes[name], plane, strict=True)
        np.testing.assert_array_equal(certified.decode(), plain.decode())
        again = plain.certified(x)
        np.testing.assert_array_equal(again.planes["errors"], certified.planes["errors"])
        np.testing.assert_array_equal(certified.certified(x).planes["errors"], certified.planes["errors"])


@pytest.mark.parametrize("method", sorted(evenbits.methods().keys() - {"residual"}))
def test_a_budget_holds_with_its_certificate(method, rng):
    x = rng.standard_normal((8, 700)).astype(np.float32)
    e = quantize(x, method=method, budget=2.3, certificate=True)
    errors = np.linalg.norm(x.astype(np.float64) - e.decode(), axis=1)
    assert e.bits_per_value <= 2.3 and (errors <= e.certified_error()).all()
    with pytest.raises(ValueError, match=r"budget is 0\.04 bits a value: codes, scales and spec"):
        quantize(x, method=method, budget=0.04, certificate=True)


def test_a_budget_holds_where_another_method_has_a_larger_certificate(rng):
    x = rng.standard_normal((12, 64))
    options = {"iterations": 1, "refine": False, "form": "matrix", "scale_dtype": "float16"}
    with pytest.warns(RuntimeWarning, match="instead"), pytest.raises(ValueError, match="has a larger certificate: take more"):
        quantize(x, method="kashin", budget=4, certificate=True, **options)


def test_a_models_budget_holds_where_another_method_has_larger_certificates(rng, tmp_path):
    save_file({"a": rng.standard_normal((12, 64)), "b": rng.standard_normal((16, 64))}, tmp_path / "m")
    options = {"iterations": 1, "refine": False, "form": "matrix", "scale_dtype": "float16", "certificate": True}
    with pytest.warns(RuntimeWarning, match="instead"), pytest.raises(ValueError, match="certificates take more than"):
        quantize_model(tmp_path / "m", tmp_path / "f", method="kashin", budget=4, **options)
    assert not (tmp_path / "f").exists()
    with pytest.raises(TypeError, match="certificate is 'yes'; it must be True or False"):
        quantize_model(tmp_path / "m", tmp_path / "f", certificate="yes")


def test_files_keep_certificates(tmp_path, rng):
    e = quantize(rng.standard_normal((4, 50)), 2, "trellis", memory=8, certificate=True)
    evenbits.save(tmp_path / "f", {"x": e, "plain": quantize(np.ones((2, 9)), 2)})
    back = evenbits.load(tmp_path / "f", verify=True)["x"]
    np.testing.assert_array_equal(back.certified_error(), e.certified_error())
    assert evenbits.verify(tmp_path / "f").certified == 1


def test_codes_without_a_certificate_name_the_option(rng):
    with pytest.raises(ValueError, match=r"no certificate; pass certificate=True to quantize, or take Encoded.certified\(x\)"):
        quantize(np.ones((2, 9)), 2).certified_error()


def test_what_is_cut_has_no_certificate(rng):
    e = quantize(rng.standard_normal((6, 300)), 4, "pruning", certificate=True)
    short = e.cut(2)
    assert short.bits_per_value <= 2 and "errors" not in short.planes
    assert np.isfinite(e.decode(bits=2)).all()


@pytest.mark.parametrize(
    ("plane", "message"),
    [
        (np.zeros(3, np.float32), r"plane 'errors' is float32\(3,\); the spec says float32\(4,\)"),
        (np.zeros(4), "plane 'errors' is float64"),
        (np.full(4, np.nan, np.float32), "plane 'errors' holds a number that is not finite"),
        (np.full(4, -1, np.float32), "plane 'errors' holds a number below 0"),
        (None, "plane 'errors' is missing"),
    ],
)
def test_certificates_that_mean_nothing_are_refused(plane, message):
    e = quantize(np.ones((4, 9)), 2)
    for ask in (Encoded.decode, Encoded.certified_error):
        with pytest.raises(EncodedError, match=message):
            ask(Encoded({**e.planes, "errors": plane}, e.spec))


def test_what_cannot_be_certified_is_refused(rng):
    x = rng.standard_normal((2, 16))
    with pytest.raises(ValueError, match="the error of row 1 is beyond float32"):
        quantize(x * [[1], [1e300]], 2, "uniform", scale_dtype="float64", certificate=True)
    e = quantize(x, 2)
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\); the encoded array has \(2, 16\)"):
        e.certified(x[:, :3])
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan"):
        e.certified(np.where(np.arange(16) == 1, np.nan, x))
    with pytest.raises(TypeError, match="certificate is 'yes'; it must be True or False"):
        quantize(x, 2, certificate="yes")


def test_cosines_are_not_certified(rng):
    pytest.importorskip("scipy")
    with pytest.raises(ValueError, match="transforms of cosines are decoded a little differently"):
        quantize(rng.standard_normal((2, 60)), 2, "democratic", redundancy=1.1, frame="dct", certificate=True)


@pytest.mark.filterwarnings("ignore:on rows held out")
@pytest.mark.parametrize("method", evenbits.quantizers.calibrated_methods())
def test_codes_chosen_for_outputs_are_certified_as_weights(method, rng):
    w, x = rng.standard_normal((5, 20)), rng.standard_normal((500, 20))
    e = quantize(w, 3, method, calibration=x, certificate=True)
    assert_bounds(e.certified_error(), w, e.decode())


@pytest.mark.parametrize("method", ["entropy_trellis", "near_democratic"])
@pytest.mark.parametrize("budget", ["2.5", "12kB"])
def test_models_are_certified_within_their_budget(method, budget, rng, tmp_path):
    arrays = {"a": rng.standard_normal((64, 300)), "b": rng.standard_normal((16, 3, 300)), "c": np.ones(3)}
    arrays["b"] = arrays["b"].astype(ml_dtypes.bfloat16)
    save_file(arrays, tmp_path / "m")
    report = quantize_model(tmp_path / "m", tmp_path / "f", budget=budget, method=method, certificate=True)
    assert report.output_bytes <= 12_000 if budget == "12kB" else report.bits_per_value <= 2.5
    coded = evenbits.load(tmp_path / "f", verify=True)
    shown = {row.name: row.certified for row in inspect_model(tmp_path / "f")}
    assert shown["c"] is None and evenbits.verify(tmp_path / "f").certified == 2
    for name in ("a", "b"):
        x, e = arrays[name].reshape(len(arrays[name]), -1).astype(float), coded[name]
        errors = np.linalg.norm(x - e.decode().astype(float), axis=1)
        assert (errors <= e.certified_error()).all() and np.linalg.norm(errors) <= shown[name] < 1.02 * np.linalg.norm(errors)


def test_shown_numbers_are_rounded_up():
    assert [ceiling_text(x) for x in (0.0, 1.0, 7.7252327, 123456.0, 1.00001e-9)] == ["0", "1", "7.726", "1.235e+05", "1.001e-09"]
