import ctypes
import platform
import sys

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from evenbits import _core
from evenbits.reference import rounding as reference
from evenbits.reference.random import half_words
from evenbits.rounding import round_nearest, round_stochastic, round_to_bfloat16, round_to_float16, rounding_error

FLOATS = [np.float32, np.float64]
LENGTHS = [1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 1023, 1024, 1025, 2500]
LARGEST = float(np.finfo(np.float32).max)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def spread(parameters, n, group):
    """Parameters of groups, one for each element."""
    return np.repeat(parameters, group, axis=-1)[..., :n]


def every_float16():
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    return x[np.isfinite(x)]


def every_bfloat16():
    x = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    return x[np.isfinite(x.astype(np.float32))]


# Equality with the reference


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [0, 1, 15, 255, 256, 65535])
def test_codes_equal_the_reference_bit_for_bit(isa, dtype, top, rng):
    for n in LENGTHS:
        x = rng.standard_normal((2, n)).astype(dtype)
        x.flat[:: n // 3 + 1] = 0
        options = {"scale": 0.4 * top + 0.3, "zero": 0.5 * top, "top": top}
        np.testing.assert_array_equal(round_nearest(x, **options), reference.round_nearest(x, **options))
        for first in (0, 1, 5, 8, 1021):
            stream = {"seed": n, "stream": 3, "first": first}
            np.testing.assert_array_equal(
                round_stochastic(x, **options, **stream), reference.round_stochastic(x, **options, **stream)
            )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [15, 1023])
@pytest.mark.parametrize("group", [1, 3, 16, 32, 40, 64, 100, 1024, 5000])
def test_groups_have_their_own_parameters(isa, dtype, top, group, rng):
    n = 1300
    x = rng.standard_normal((3, n)).astype(dtype)
    shape = (3, -(-n // group))
    scale, zero = rng.uniform(1, 5, shape).astype(dtype), rng.uniform(0, top, shape).astype(dtype)
    wide = {"scale": spread(scale, n, group), "zero": spread(zero, n, group), "top": top}
    options = {"scale": scale, "zero": zero, "top": top, "group": group}
    np.testing.assert_array_equal(round_nearest(x, **options), reference.round_nearest(x, **wide))
    np.testing.assert_array_equal(
        round_stochastic(x, **options, seed=1, first=3), reference.round_stochastic(x, **wide, seed=1, first=3)
    )


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 70), elements=finite), finite, finite, st.integers(0, 65535))
def test_any_finite_numbers_equal_the_reference(x, scale, zero, top):
    options = {"scale": scale, "zero": zero, "top": top}
    np.testing.assert_array_equal(round_nearest(x, **options), reference.round_nearest(x, **options))
    np.testing.assert_array_equal(
        round_stochastic(x, **options, seed=1), reference.round_stochastic(x, **options, seed=1)
    )
    np.testing.assert_array_equal(round_to_float16(x, seed=1), reference.round_to_float16(x, seed=1))
    np.testing.assert_array_equal(round_to_bfloat16(x, seed=1, as_bits=True), reference.round_to_bfloat16(x, seed=1))


@pytest.mark.parametrize("first", [0, 3, 1020])
def test_formats_equal_the_reference_bit_for_bit(isa, first, rng):
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)  # all exponents
    x = bits.view(np.float32)
    x = x[np.isfinite(x)]
    x[::3] = rng.standard_normal(len(x[::3])) * np.exp(rng.uniform(-20, 12, len(x[::3])))
    for n in (*LENGTHS, len(x)):
        options = {"seed": 9, "stream": 4, "first": first}
        rounded, expected = round_to_float16(x[:n], **options), reference.round_to_float16(x[:n], **options)
        np.testing.assert_array_equal(rounded.view(np.uint16), expected.view(np.uint16))
        np.testing.assert_array_equal(
            round_to_bfloat16(x[:n], **options, as_bits=True), reference.round_to_bfloat16(x[:n], **options)
        )


@pytest.mark.parametrize("group", [1, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("top", [3, 255, 65535])
def test_rounding_errors_equal_the_reference_bit_for_bit(isa, group, top, rng):
    x = rng.standard_normal((2, 1000)).astype(np.float32)
    shape = (2, -(-1000 // group))
    scale, zero, step = (rng.uniform(0.5, 3, shape).astype(np.float32) for _ in range(3))
    errors = rounding_error(x, scale=scale, zero=zero, step=step, top=top, group=group)
    for row, g in np.ndindex(shape):
        part = x[row, g * group : (g + 1) * group]
        parameters = scale[row, g], zero[row, g], step[row, g]
        assert errors[row, g] == reference.round_error(part, *parameters, top)


def test_kernels_write_nothing_beyond_the_codes_they_are_asked_for(isa, rng):
    for n in range(1, 70):
        x = rng.standard_normal(n).astype(np.float32)
        one = np.ones(1, np.float32)
        for dtype in (np.uint8, np.uint16):
            codes = np.full(n + 70, 77, dtype)
            _core.round_stochastic(x, n, n, one, one, 9, 1, 2, 3, codes[:n], 1)
            assert (codes[n:] == 77).all()
            codes[:] = 77
            _core.round_nearest(x, n, n, one, one, 9, codes[:n], 1)
            assert (codes[n:] == 77).all()
        bits = np.full(n + 70, 77, np.uint16)
        _core.round_float16(x, 1, 2, 3, bits[:n], 1)
        _core.round_bfloat16(x, 1, 2, 3, bits[:n], 1)
        assert (bits[n:] == 77).all()


# What rounding means


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("top", [9, 127, 300])
def test_up_starts_just_above_the_half_word_and_a_half(isa, dtype, top):
    k = half_words(5, 6, 5000, first=3)
    floor = np.arange(k.size) % min(top, 127)
    for half_steps, expected in ((0, 0), (1, 0), (2, 1)):
        x = (floor + (k + half_steps / 2) / 65536).astype(dtype)
        np.testing.assert_array_equal(round_stochastic(x, scale=1, zero=0, top=top, seed=5, stream=6, first=3), floor + expected)


@pytest.mark.parametrize("scale", [1.0, 2.0**-140, 2.0**100, 2.0**109, 2.0**110, 2.0**127, -(2.0**120)])
@pytest.mark.parametrize("zero", [0.0, 7.25, 2.0**-149, 2.0**111, -(2.0**112), -(2.0**127)])
def test_scales_and_zeros_may_be_of_any_size(isa, scale, zero, rng):
    exponents = rng.integers(-149, 128, 3000) - int(np.log2(abs(scale))) * rng.integers(0, 2, 3000)
    x = np.ldexp(rng.standard_normal(3000), np.clip(exponents, -149, 120)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        y = x * np.float32(scale) + np.float32(zero)
        x[np.isnan(y)] = 0  # an infinity less another
        expected = reference.round_stochastic(x, np.float32(scale), np.float32(zero), 200, seed=1)
    np.testing.assert_array_equal(round_stochastic(x, scale=scale, zero=zero, top=200, seed=1), expected)


def test_ties_go_to_even(isa):
    x = np.arange(0, 9, 0.5, dtype=np.float32)
    codes = round_nearest(x, scale=1, zero=0, top=255)
    np.testing.assert_array_equal(codes, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6, 6, 6, 7, 8, 8, 8])
    np.testing.assert_array_equal(round_nearest(x.astype(np.float64), scale=1, zero=0, top=999), codes)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rounding", [round_nearest, lambda x, **o: round_stochastic(x, **o, seed=5)])
def test_codes_saturate_at_both_ends(isa, dtype, rounding):
    big = np.finfo(dtype).max
    x = np.array([-big, -1e30, -1.5, -1e-30, -0.0, 0, 9, 9.7, 1e30, 3e38, big], dtype)
    for scale in (1, 10):
        codes = rounding(x, scale=scale, zero=0, top=9)
        np.testing.assert_array_equal(codes[:6], 0)
        np.testing.assert_array_equal(codes[6:], 9)
    np.testing.assert_array_equal(rounding(x[[0, -1]], scale=-10, zero=0, top=65535), [65535, 0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [255, 65535])
def test_integers_are_fixed_points(isa, dtype, top):
    x = np.arange(top + 1, dtype=dtype)
    for seed in range(3):
        np.testing.assert_array_equal(round_stochastic(x, scale=1, zero=0, top=top, seed=seed), x)


@settings(deadline=None)
@given(hnp.arrays(np.float64, 50, elements=st.floats(0, 300)), st.integers(0, 2**64 - 1))
def test_codes_are_neighbours(x, seed):
    codes = round_stochastic(x, scale=1, zero=0, top=300, seed=seed)
    assert ((codes == np.floor(x)) | (codes == np.ceil(x))).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [2**-17, 2**-16, 0.1, 0.3, 0.5, 0.7, 1 - 2**-16, 1 - 2**-17, 6.3, 1 - 2**-24])
def test_stochastic_rounding_is_unbiased(value, dtype):
    n = 1 << 20
    y = float(dtype(value))
    f = y - np.floor(y)
    codes = round_stochastic(np.full(n, value, dtype), scale=1, zero=0, top=7, seed=1)
    assert abs(codes.mean() - y) < 5 * np.sqrt(f * (1 - f) / n) + 2**-17


def test_the_bias_over_all_random_bits_is_at_most_2_to_the_minus_17(rng):
    k = np.arange(1 << 16, dtype=np.uint16)
    fractions = [0.0, 2.0**-17, 2.0**-18, 0.5, 1 - 2.0**-18, *rng.random(50)]
    biases = [abs(reference.rounds_up(np.full(1 << 16, f), k).mean() - f) for f in fractions]
    assert max(biases) <= 2**-17
    assert max(biases) > 2**-18


@pytest.mark.parametrize("dtype", FLOATS)
def test_denormals_are_zero_almost_surely(isa, dtype):
    x = np.array([np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).smallest_subnormal] * 100, dtype)
    assert not round_nearest(x, scale=1, zero=0, top=3).any()
    assert not round_stochastic(x, scale=1, zero=0, top=3, seed=0).any()


def denormals(dtype):
    return np.arange(40, dtype=dtype) * np.finfo(dtype).smallest_subnormal


def codes_of_denormals(x):
    """1 for the positive ones: 1/2 plus a little."""
    return round_nearest(x, scale=2.0 ** (127 if x.dtype == np.float32 else 1023), zero=0.5, top=1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_denormals_are_scaled_exactly(isa, dtype):
    np.testing.assert_array_equal(codes_of_denormals(denormals(dtype)), np.arange(40) > 0)


@pytest.mark.skipif(not (sys.platform == "linux" and platform.machine() == "x86_64"), reason="sets MXCSR through glibc")
def test_a_thread_that_flushes_denormals_gets_the_same_codes(isa):
    libm = ctypes.CDLL("libm.so.6")
    before, flushing = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm.fegetenv(before), libm.fegetenv(flushing)
    flushing[7] |= 0x8040  # the last word is MXCSR
    x = denormals(np.float32)
    libm.fesetenv(flushing)
    try:
        product, codes = float(x[1] * np.float32(2)), codes_of_denormals(x)
    finally:
        libm.fesetenv(before)
    assert product == 0
    np.testing.assert_array_equal(codes, np.arange(40) > 0)


@pytest.mark.parametrize("every", [every_float16, every_bfloat16])
def test_numbers_of_a_format_are_its_fixed_points(isa, every):
    x = every()
    rounding = round_to_float16 if x.dtype == np.float16 else round_to_bfloat16
    for seed in range(3):
        rounded = rounding(x, seed=seed)
        assert rounded.dtype == x.dtype
        np.testing.assert_array_equal(rounded.view(np.uint16), x.view(np.uint16))


@pytest.mark.parametrize(
    ("every", "rounding"), [(every_float16, round_to_float16), (every_bfloat16, round_to_bfloat16)]
)
def test_other_numbers_become_one_of_their_neighbours(every, rounding, rng):
    grid = np.unique(every().astype(np.float32))
    x = rng.choice(grid[:-1], 20_000)
    x = np.float32(x + rng.random(x.size) * (grid[np.searchsorted(grid, x) + 1].astype(np.float64) - x))
    x = np.concatenate([x, np.float32([1e-45, -1e-45, 1e-40, 6e-8, -6e-8, 65503, -65503])])
    x = x[np.abs(x) <= grid[-1]]
    above = np.searchsorted(grid, x)  # the least number of the format that isn't below x
    rounded = rounding(x, seed=3).astype(np.float32)
    assert ((rounded == grid[above]) | (rounded == grid[np.maximum(above - (grid[above] > x), 0)])).all()
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(x))


@pytest.mark.parametrize(
    ("rounding", "value", "step"),
    [
        (round_to_float16, 1 + 0.3 / 1024, 2.0**-10),
        (round_to_float16, 3.3 * 2.0**-24, 2.0**-24),
        (round_to_float16, 0.25 * 2.0**-24, 2.0**-24),
        (round_to_float16, -1000.2, 0.5),
        (round_to_bfloat16, 1 + 0.3 / 128, 2.0**-7),
        (round_to_bfloat16, -1e-39, 2.0**-133),
    ],
)
def test_formats_are_rounded_without_bias(isa, rounding, value, step):
    n = 1 << 18
    x = np.full(n, value, np.float32)
    exact = float(x[0])
    rounded = rounding(x, seed=2).astype(np.float64)
    f = exact / step - np.floor(exact / step)
    assert abs(rounded.mean() - exact) < step * (5 * np.sqrt(f * (1 - f) / n) + 2**-17)
    assert len(np.unique(rounded)) == 2


def test_formats_saturate_at_their_largest_number(isa):
    x = np.float32([65504, 65519, 65520, 1e5, LARGEST, -1e9] * 10)
    np.testing.assert_array_equal(round_to_float16(x, seed=1), np.sign(x) * 65504)
    top = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    x = np.float32([LARGEST, -LARGEST, top] * 100)
    np.testing.assert_array_equal(round_to_bfloat16(x, seed=1).astype(np.float32), np.sign(x) * np.float32(top))
    assert round_to_float16([1e300, -1e300], seed=0).tolist() == [65504, -65504]


def test_rounding_errors_are_the_squared_errors_of_the_codes(rng):
    x = rng.standard_normal((4, 300))
    codes = round_nearest(x.astype(np.float32), scale=3, zero=7.5, top=15).astype(float)
    errors = rounding_error(x, scale=3, zero=7.5, step=1 / 3, top=15)
    np.testing.assert_allclose(errors, ((x - (codes - 7.5) / 3) ** 2).sum(axis=-1), rtol=1e-5)


# The same bytes however the work is cut


@pytest.mark.parametrize(
    ("shape", "group"), [((1000, 700), None), ((700_000,), None), ((3, 200_001), 32), ((5, 140_000), 70_000)]
)
def test_workers_change_nothing(isa, shape, group, rng):
    x = rng.standard_normal(shape, dtype=np.float32)
    parameters = shape[:-1] if group is None else (*shape[:-1], -(-shape[-1] // group))
    scale, zero = rng.uniform(1, 5, parameters), rng.uniform(0, 15, parameters)
    options = {"scale": scale, "zero": zero, "top": 15, "group": group}
    results = [
        (
            round_nearest(x, **options, workers=workers).tobytes(),
            round_stochastic(x, **options, seed=1, first=3, workers=workers).tobytes(),
            rounding_error(x, **options, step=1, workers=workers).tobytes(),
            round_to_float16(x, seed=1, first=3, workers=workers).tobytes(),
            round_to_bfloat16(x, seed=1, first=3, workers=workers).tobytes(),
        )
        for workers in (1, 2, 7)
    ]
    assert results[0] == results[1] == results[2]


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_parts_of_an_array_continue_its_stream(a, b):
    a, b = min(a, b), max(a, b)
    x = np.linspace(-3, 300, 3000, dtype=np.float32)
    options = {"scale": 1, "zero": 0, "top": 255, "seed": 1, "stream": 2}
    np.testing.assert_array_equal(round_stochastic(x[a:b], **options, first=a), round_stochastic(x, **options)[a:b])
    for rounding in (round_to_float16, round_to_bfloat16):
        np.testing.assert_array_equal(rounding(x[a:b], seed=1, first=a), rounding(x, seed=1)[a:b])


# Arguments


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.int8, np.int32, np.uint8, bool, ">f4", "<f4"])
def test_other_types_are_rounded_in_float32(dtype):
    x = np.arange(24).reshape(4, 6).astype(dtype)
    for rounding in (round_nearest, lambda x, **o: round_stochastic(x, **o, seed=0)):
        codes = rounding(x, scale=1.3, zero=0.25, top=20)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, rounding(x.astype(np.float32), scale=1.3, zero=0.25, top=20))


def test_memory_layout_changes_nothing(rng):
    x = rng.standard_normal((40, 60)).astype(np.float32)
    options = {"scale": 2, "zero": 7, "top": 15, "seed": 1}
    for view in (x[::2, ::3], x.T, x[::-1], np.asfortranarray(x)):
        view.flags.writeable = False
        np.testing.assert_array_equal(
            round_stochastic(view, **options), round_stochastic(np.ascontiguousarray(view), **options)
        )


def test_scalars_and_empty_arrays_have_codes():
    assert round_nearest(2.6, scale=1, zero=0, top=7).shape == ()
    assert round_nearest(2.6, scale=1, zero=0, top=7) == 3
    assert round_stochastic(np.float32(2), scale=1, zero=0, top=7, seed=0, group=4, first=5) == 2
    assert rounding_error(2.5, scale=1, zero=0, step=1, top=7) == 0.25
    assert round_to_float16(0.5, seed=0) == np.float16(0.5)
    for shape in [(0,), (3, 0), (0, 3), (2, 0, 5)]:
        x = np.zeros(shape, np.float32)
        for group in (None, 2):
            options = {"scale": 1, "zero": 0, "top": 300, "group": group}
            for codes in (round_nearest(x, **options), round_stochastic(x, **options, seed=0)):
                assert (codes.shape, codes.dtype) == (shape, np.uint16)
        assert round_to_float16(x, seed=0).shape == round_to_bfloat16(x, seed=0).shape == shape
        np.testing.assert_array_equal(rounding_error(x, scale=1, zero=0, step=1, top=3), np.zeros(shape[:-1]))


def test_parameters_broadcast_to_the_rows(rng):
    x = rng.standard_normal((2, 3, 50)).astype(np.float32)
    scale = rng.uniform(1, 3, 3).astype(np.float32)
    zero = rng.uniform(0, 9, (2, 1)).astype(np.float32)
    expected = reference.round_nearest(x, scale[:, None], zero[..., None], 9)
    np.testing.assert_array_equal(round_nearest(x, scale=scale, zero=zero, top=9), expected)


def test_codes_go_into_out(rng):
    x = rng.standard_normal((3, 5))
    out = np.empty((3, 5), np.uint8)
    assert round_nearest(x, scale=2, zero=7, top=15, out=out) is out
    np.testing.assert_array_equal(out, round_nearest(x, scale=2, zero=7, top=15))
    assert round_stochastic(x, scale=2, zero=7, top=15, seed=1, out=out) is out
    with pytest.raises(ValueError, match=r"out is uint8\(3, 5\); it must be uint16\(3, 5\)"):
        round_nearest(x, scale=2, zero=7, top=999, out=out)


def test_the_input_stays_as_it_is(rng):
    x = rng.standard_normal(100).astype(np.float32)
    before = x.copy()
    round_stochastic(x, scale=2, zero=7, top=15, seed=1)
    round_to_float16(x, seed=1)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [[1, np.nan]]}, ValueError, r"x\[0, 1\] is nan; replace"),
        ({"x": [1.0, -np.inf]}, ValueError, r"x\[1\] is -inf"),
        ({"x": ["a"]}, TypeError, "x has dtype <U1; convert"),
        ({"x": [1j]}, TypeError, "x has dtype complex128"),
        ({"scale": np.inf}, ValueError, "scale is inf"),
        ({"x": np.float32([1]), "scale": 1e300}, ValueError, "scale is inf"),
        ({"zero": [0, np.nan]}, ValueError, r"zero\[1\] is nan"),
        ({"scale": [1, 2]}, ValueError, r"scale has shape \(2,\), which doesn't broadcast to \(\)"),
        ({"scale": [1, 2, 3], "group": 2}, ValueError, r"scale has shape \(3,\), which doesn't broadcast to \(2,\)"),
        ({"top": -1}, ValueError, "top is -1; it must be from 0 to 65535"),
        ({"top": 65536}, ValueError, "top is 65536"),
        ({"top": 1.5}, TypeError, "top is 1.5; it must be an integer"),
        ({"group": 0}, ValueError, "group is 0"),
        ({"workers": 0}, ValueError, "workers is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"stream": 2**64}, ValueError, "stream is"),
        ({"first": 2**64 - 3}, ValueError, f"first is {2**64 - 3}; it must be from 0 to {2**64 - 4}"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    options = {"x": [1.0, 2.0, 3.0, 4.0], "scale": 1, "zero": 0, "top": 7, "seed": 0} | change
    if options["x"] == ["a"] or change.keys() & {"seed", "stream", "first"}:
        roundings = [round_stochastic]
    else:
        roundings = [round_stochastic, lambda x, *, seed, **o: round_nearest(x, **o)]
    for rounding in roundings:
        with pytest.raises(error, match=message):
            rounding(**options)


@pytest.mark.parametrize("rounding", [round_to_float16, round_to_bfloat16])
def test_formats_refuse_what_is_not_finite(rounding):
    with pytest.raises(ValueError, match=r"x\[1\] is inf"):
        rounding([1, np.inf], seed=0)


def test_without_ml_dtypes_there_are_the_bits_of_bfloat16(monkeypatch):
    bits = round_to_bfloat16([1.5, -2], seed=0).view(np.uint16)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="as_bits=True"):
        round_to_bfloat16([1.5, -2], seed=0)
    np.testing.assert_array_equal(round_to_bfloat16([1.5, -2], seed=0, as_bits=True), bits)


def test_the_core_refuses_what_would_touch_foreign_memory():
    x, one, codes = np.zeros(8, np.float32), np.ones(1, np.float32), np.zeros(8, np.uint8)
    two, errors = np.ones(2, np.float32), np.zeros(1)
    good = {"x": x, "n": 8, "group": 8, "scale": one, "zero": one, "top": 3, "workers": 1}
    bad = [
        {"n": 0}, {"n": 3}, {"n": 2**64 - 1}, {"n": 4}, {"group": 0}, {"group": 2**64 - 1}, {"group": 4},
        {"scale": two}, {"zero": two}, {"scale": one.astype(np.float64)}, {"x": x.astype(np.float64)}, {"x": x[::2]},
        {"x": x.astype(np.int32)}, {"top": 65536}, {"x": x[:4]},
    ]  # fmt: skip
    _core.round_nearest(**good, codes=codes)
    for change in bad:
        with pytest.raises((ValueError, TypeError)):
            _core.round_nearest(**good | change, codes=codes)
        with pytest.raises((ValueError, TypeError)):
            _core.round_stochastic(**good | change, codes=codes, seed=0, stream=0, first=0)
        with pytest.raises((ValueError, TypeError)):
            _core.round_error(**good | {"step": one} | change, errors=errors)
    for other in (codes[:4], codes.astype(np.int8), np.zeros(16, np.uint8)[::2], np.zeros(8, np.float32)):
        with pytest.raises((ValueError, TypeError)):
            _core.round_nearest(**good, codes=other)
    with pytest.raises(ValueError, match="at most 255"):
        _core.round_nearest(**good | {"top": 256}, codes=codes)
    for kernel in (_core.round_float16, _core.round_bfloat16):
        for out in (np.zeros(7, np.uint16), codes, np.zeros(16, np.uint16)[::2]):
            with pytest.raises((ValueError, TypeError)):
                kernel(x, 0, 0, 0, out, 1)
