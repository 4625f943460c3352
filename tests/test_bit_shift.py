from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits import EncodedError, _core, bit_shift
from evenbits.quantizers import Trellis
from evenbits.reference import bit_shift as reference

SHAPES = [
    (16, 8, "1"), (560, 8, "3/2"), (64, 11, "1"), (12, 12, "2"), (530, 9, "2"), (70, 13, "2"), (64, 10, "5/2"), (33, 12, "3"),
    (20, 11, "7/2"), (40, 10, "4"), (16, 14, "4"), (30, 10, "10/3"), (90, 9, "9/4"),
]  # fmt: skip


def integers(rng, rows, n, rate):
    x = rng.standard_normal((rows, n)) * bit_shift.DEVIATION * bit_shift.unit(rate)
    x[0, :3] = 32767, -32767, 1e9
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("n", "memory", "rate"), SHAPES)
def test_bits_are_those_of_the_reference(isa, n, memory, rate, rng):
    rate = Fraction(rate)
    x = integers(rng, 2, n, rate)
    codes = np.full((2, bit_shift.row_bytes(n, rate)), 255, np.uint8)
    _core.bit_shift_search(x, n, memory, rate.numerator, rate.denominator, codes, 1)
    expected = [reference.search(row, memory, rate.numerator, rate.denominator) for row in x]
    np.testing.assert_array_equal(codes, expected)


def test_a_search_whose_decisions_disagree_starts_again(isa, monkeypatch):
    """Ways to all states are one only after more values than a decision waits for: here twice."""
    starts = []
    start_again = reference._Search.start_again
    monkeypatch.setattr(reference._Search, "start_again", lambda self: starts.append(self.known) or start_again(self))
    x = np.random.default_rng(5).standard_normal((15, 1200))[14:] * bit_shift.DEVIATION * bit_shift.unit(Fraction(4))
    x = np.rint(np.clip(0.88 * x, -32767, 32767)).astype(np.int16)
    expected = reference.search(x[0], 12, 4, 1)
    assert len(starts) == 3
    codes = np.zeros((1, 600), np.uint8)
    _core.bit_shift_search(x, 1200, 12, 4, 1, codes, 1)
    np.testing.assert_array_equal(codes[0], expected)


@pytest.mark.parametrize("memory", range(8, 17))
@pytest.mark.parametrize("rate", ["1", "3/2", "2", "21/8", "3", "4"])
def test_values_are_those_of_the_reference(isa, memory, rate, rng):
    rate = Fraction(rate)
    for n in (16, 17, 31, 64, 65, 200):
        codes = rng.integers(0, 256, (3, bit_shift.row_bytes(n, rate)), np.uint8)
        scale = rng.standard_normal(3).astype(np.float32)
        levels = reference.decode(codes, n, memory, rate.numerator, rate.denominator)
        y = bit_shift.values(codes, scale, n, rate, memory)
        np.testing.assert_array_equal(y, levels.astype(np.float32) * scale[:, None])


def test_levels_are_nearly_gaussian():
    for rate in (1, 2, 3, 4):
        levels = reference.level(np.arange(1 << 16), 16, rate, 1)
        assert abs(levels.mean()) < 6 and abs(levels.std() / bit_shift.DEVIATION - 1) < 0.05
        assert abs(levels).max() <= 510


def test_a_row_of_the_code_is_found_again():
    """Its own values come at no cost, and no other bits do better."""
    codes = np.random.default_rng(3).integers(0, 256, (1, 50), np.uint8)
    levels = reference.decode(codes, 200, 10, 2, 1)
    found = np.zeros_like(codes)
    _core.bit_shift_search((64 * levels).astype(np.int16), 200, 10, 2, 1, found, 1)
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize(
    ("bits", "memory", "limit"), [(1, 12, 1.11), (2, 12, 1.17), (2, 9, 1.32), (2.5, 10, 1.33), (4, 12, 1.32)]
)
def test_errors_are_near_the_limit(bits, memory, limit, rng):
    x = rng.standard_normal((2, 4096)).astype(np.float32) ** 3
    assert Trellis(bits, memory=memory).encode(x).error(x) ** 2 * 4**bits < limit


@settings(max_examples=10)
@given(st.floats(1.6, 5), st.integers(1, 3), st.integers(30, 200), st.booleans())
def test_a_budget_is_never_exceeded(budget, rows, d, rotate):
    x = np.random.default_rng(d).standard_normal((rows, d))
    try:
        e = evenbits.quantize(x, method="trellis", budget=budget, memory=8, rotate=rotate, scale_dtype="float16")
    except ValueError as error:
        assert "budget" in str(error)
    else:
        assert e.bits_per_value <= budget
        assert e.nbytes == Trellis(e._meaning.bits, memory=8, rotate=rotate, scale_dtype="float16").nbytes(x.shape, "float64")


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (5, 7), (2, 3, 40)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f4", "int16"])
def test_every_shape_and_dtype_has_an_answer(shape, dtype, rng):
    x = (9 * rng.standard_normal(shape)).astype(dtype)
    e = evenbits.quantize(x, 3, "trellis")
    y = evenbits.decode(e)
    assert y.shape == shape
    assert y.dtype == (np.dtype(dtype).newbyteorder("=") if np.dtype(dtype).kind == "f" else np.float32)
    assert np.linalg.norm(y.astype(float) - x) <= 0.35 * np.linalg.norm(x.astype(float))
    assert e.nbytes == Trellis(3).nbytes(shape, dtype)


def test_rows_of_any_size_keep_their_error(rng):
    x = rng.standard_normal((4, 96))
    sizes = np.array([[1e-30], [1e25], [1], [0]])
    y = evenbits.decode(evenbits.quantize(x * sizes, 3, "trellis")) / np.where(sizes, sizes, 1)
    assert (np.linalg.norm(y - x * (sizes > 0), axis=1) < 0.2 * np.linalg.norm(x, axis=1)).all()
    huge = evenbits.quantize(x * 1e300, 3, "trellis", scale_dtype="float64")
    assert huge.error(x * 1e300) < 0.2
    with pytest.raises(ValueError, match=r"scale_dtype is 'float32', which can't hold a scale of .*e\+29"):
        evenbits.quantize(x * 1e300, 3, "trellis")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scales_that_would_become_zero_are_refused(dtype, rng):
    x = rng.standard_normal((2, 64)) * (1e-6 if dtype == "float16" else 1e-300)
    with pytest.raises(ValueError, match=f"scale_dtype is '{dtype}', which can't hold a scale of "):
        evenbits.quantize(x, 3, "trellis", scale_dtype=dtype)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 11])
def test_scales_are_those_of_least_error_for_short_rows_too(d, rng):
    x = rng.standard_normal((20, d)).astype(np.float32)
    y = evenbits.decode(evenbits.quantize(x, 2, "trellis", rotate=False)).astype(np.float64)
    np.testing.assert_allclose(((x - y) * y).sum(axis=1), 0, atol=1e-5)


def test_floats_near_a_fraction_are_that_fraction():
    assert Trellis(4 / 3).bits == Fraction(4, 3)
    with pytest.raises(ValueError, match="fractions of up to 65536 parts"):
        Trellis(Fraction(131075, 65537))


def test_multipliers_are_those_of_the_reference():
    for memory in (8, 12, 16):
        for rate in (Fraction(1), Fraction(7, 3), Fraction(3), Fraction(4)):
            assert bit_shift.multiplier(rate, memory) == reference.multiplier(memory, rate.numerator, rate.denominator)


def test_unbiased_codes_keep_the_inner_product(rng):
    x = rng.standard_normal((3, 128))
    y = evenbits.decode(evenbits.quantize(x, 2, "trellis", fit="unbiased", memory=8))
    np.testing.assert_allclose((x * y).sum(axis=1), (x * x).sum(axis=1), rtol=1e-5)


def test_workers_and_strides_do_not_matter(isa, rng):
    x = rng.standard_normal((40, 2, 300)).astype(np.float32)
    plain = evenbits.quantize(x[:, 1], 1.5, "trellis", memory=9)
    again = evenbits.quantize(np.ascontiguousarray(x[:, 1]), 1.5, "trellis", memory=9, workers=3)
    assert plain.spec == again.spec
    for name, plane in plain.planes.items():
        np.testing.assert_array_equal(plane, again.planes[name])
    np.testing.assert_array_equal(evenbits.decode(plain), evenbits.decode(again, workers=2))


def test_rows_decode_alone(rng):
    x = rng.standard_normal((5, 64)).astype(np.float32)
    e = evenbits.quantize(x, 2, "trellis", memory=8, rotate=False)
    one = evenbits.Encoded({k: p[3:4] for k, p in e.planes.items()}, e.spec | {"shape": [1, 64]})
    np.testing.assert_array_equal(evenbits.decode(one)[0], evenbits.decode(e)[3])


def test_files_are_read_and_verified(tmp_path, rng):
    e = evenbits.quantize(rng.standard_normal((4, 50)), 2.25, "trellis", seed=7, stream=2, scale_dtype="float16")
    evenbits.save(tmp_path / "x.safetensors", {"x": e})
    np.testing.assert_array_equal(evenbits.load(tmp_path / "x.safetensors", verify=True)["x"].decode(), e.decode())


@given(st.data())
@settings(max_examples=20)
def test_any_bits_decode_to_numbers(data):
    e = evenbits.quantize(np.ones((2, 24), np.float32), 1.5, "trellis", memory=8)
    raw = data.draw(st.binary(min_size=e.planes["codes"].size, max_size=e.planes["codes"].size))
    codes = np.frombuffer(raw, np.uint8).reshape(e.planes["codes"].shape)
    assert np.isfinite(evenbits.decode(evenbits.Encoded(e.planes | {"codes": codes}, e.spec))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": 7}, "memory is 7"),
        ({"memory": 17}, "memory is 17"),
        ({"bits": "1/2"}, "bits is 1/2; it must be from 1 to 4"),
        ({"bits": "131073/65537"}, "parts of at most 65536"),
        ({"rotated": 1}, "rotated is 1"),
        ({"scales": "bfloat16"}, "scales is 'bfloat16'"),
        ({"seed": -1}, "seed is -1"),
        ({"more": 1}, "more is unknown"),
        ({"shape": [2, 25]}, "plane 'codes' is"),
    ],
)
def test_specs_that_mean_nothing_are_refused(change, message):
    e = evenbits.quantize(np.ones((2, 24)), 2, "trellis", memory=8)
    with pytest.raises(EncodedError, match=message):
        evenbits.decode(evenbits.Encoded(e.planes, e.spec | change))


def test_damaged_planes_are_refused():
    e = evenbits.quantize(np.ones((2, 24)), 2, "trellis", memory=8)
    for planes in (
        {"codes": e.planes["codes"][:, :-1]},
        {"codes": e.planes["codes"][:1]},
        {"scales": e.planes["scales"] * np.nan},
    ):
        with pytest.raises(EncodedError, match=f"plane '{next(iter(planes))}'"):
            evenbits.decode(evenbits.Encoded(e.planes | planes, e.spec))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0.5}, "bits is 0.5; a trellis takes 1 to 4 bits a value"),
        ({"bits": 4.5}, "bits is 4.5"),
        ({"bits": 2, "memory": 7}, "memory is 7"),
        ({"bits": 2, "fit": "range"}, "fit is 'range'"),
        ({"bits": 2, "scale_dtype": "bfloat16"}, "scale_dtype is 'bfloat16'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Trellis(**options)


def test_nan_and_infinity_are_named():
    x = np.ones((2, 3))
    x[1, 2] = np.inf
    with pytest.raises(ValueError, match=r"x\[1, 2\] is inf"):
        evenbits.quantize(x, 2, "trellis")


def test_the_core_refuses_what_it_cannot_hold():
    x, codes, scale = np.zeros((2, 16), np.int16), np.zeros((2, 4), np.uint8), np.ones(2, np.float32)
    y = np.zeros((2, 16), np.float32)
    for n, memory, bits, per in [
        (16, 7, 2, 1),
        (16, 17, 2, 1),
        (16, 8, 5, 1),
        (16, 8, 1, 2),
        (16, 8, 2, 0),
        (4, 8, 2, 1),
        (0, 8, 2, 1),
    ]:
        with pytest.raises(ValueError):
            _core.bit_shift_search(x, n, memory, bits, per, codes, 1)
        with pytest.raises(ValueError):
            _core.bit_shift_decode(codes, scale, n, memory, bits, per, y, 1)
    with pytest.raises(ValueError, match="codes must have 8 elements"):
        _core.bit_shift_search(x, 16, 8, 2, 1, codes[:1], 1)
    with pytest.raises(ValueError, match="scale must have 2"):
        _core.bit_shift_decode(codes, scale[:1], 16, 8, 2, 1, y, 1)
    with pytest.raises(TypeError, match="x must be"):
        _core.bit_shift_search(x.astype(np.int32), 16, 8, 2, 1, codes, 1)
