import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenbits import _core
from evenbits.codebooks import dequantize, lloyd_max, nearest_level, thresholds
from evenbits.reference import codebooks as reference

# every search of every instruction set, at its limits
COUNTS = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 200, 255]
SHAPES = [(1, 1), (3, 7), (2, 16), (1, 63), (1, 64), (2, 65), (3, 200), (1, 1000)]
ODDITIES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-39, 3.4e38, -3.4e38, 1.0, -1.0, 2.0**-126, -(2.0**-126)], np.float32)

by_isa = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_thresholds_are_the_midpoints():
    np.testing.assert_array_equal(thresholds([-1, 0, 0.5, 4]), np.array([-0.5, 0.25, 2.25], np.float32))
    assert thresholds([3.0]).shape == (0,) and thresholds(lloyd_max(256)).dtype == np.float32


def test_thresholds_of_huge_levels_are_finite():
    np.testing.assert_array_equal(thresholds([3e38, 3.4e38]), np.float32([3.2e38]))


@by_isa
@given(st.lists(floats, min_size=1, max_size=256, unique=True))
def test_every_level_is_its_own_nearest_level(isa, levels):
    c = np.unique(np.float32(levels))
    assert np.all(np.diff(thresholds(c)) >= 0)
    np.testing.assert_array_equal(nearest_level(c, c), np.arange(c.size))


def test_neighbouring_floats_are_told_apart():
    c = np.float32([1]) + np.arange(4, dtype=np.float32) * np.float32(2**-23)
    np.testing.assert_array_equal(nearest_level(c, c), [0, 1, 2, 3])


@pytest.mark.parametrize("codebook, message", [
    ([], r"codebook has shape \(0,\); it must be one row of 1 to 256 levels"),
    (np.arange(257), r"codebook has shape \(257,\)"),
    ([[1, 2]], r"codebook has shape \(1, 2\)"),
    ([0, 2, 1], r"codebook\[2\] is 1.0, below its predecessor"),
    ([0, np.nan], r"codebook\[1\] is nan"),
    ([0, 1e39], r"codebook\[1\] is inf"),
])  # fmt: skip
def test_bad_codebooks_are_refused(codebook, message):
    with pytest.raises(ValueError, match=message):
        thresholds(codebook)
    with pytest.raises(ValueError, match=message):
        nearest_level([0.0], codebook)


# nearest_level


def _numbers(rng, shape, t):
    """Numbers about the thresholds, on them, and odd ones."""
    x = rng.standard_normal(shape).astype(np.float32) * 3
    flat = x.reshape(-1)
    pool = np.concatenate([t, np.nextafter(t, np.float32(-np.inf)), ODDITIES])
    place = rng.random(flat.size) < 0.4
    flat[place] = rng.choice(pool, place.sum())
    return x


def _thresholds(rng, count, kind):
    if kind == "ties":
        t = rng.integers(-5, 5, count)
    elif kind == "tails":  # most in one bucket of 1024
        t = np.concatenate([rng.standard_normal(count - count // 8), rng.standard_normal(count // 8) * 1e5])
    elif kind == "wide":
        t = rng.uniform(-3.4e38, 3.4e38, count)
    elif kind == "denormal":
        t = rng.integers(-1000, 1000, count) * 1e-45
    else:
        t = rng.standard_normal(count) * 3
    return np.sort(t.astype(np.float32))


@pytest.mark.parametrize("count", COUNTS)
def test_codes_equal_the_reference_bit_for_bit(isa, count, rng):
    for kind in ("normal", "ties", "tails", "wide", "denormal"):
        t = _thresholds(rng, count, kind)
        for rows, n in SHAPES:
            for group in {n, min(n, 5), min(n, 32), min(n, 64)}:
                x = _numbers(rng, (rows, n), t)
                scale = rng.choice(np.float32([1, 1, 0.37, -2.5, 1e30, 0]), (rows, -(-n // group)))
                codes = np.full(x.shape, 99, np.uint8)
                _core.nearest_level(x, n, group, scale, t, codes, 1)
                with np.errstate(over="ignore"):
                    np.testing.assert_array_equal(codes, reference.nearest_level(x, t, scale, group))


@by_isa
@given(st.lists(floats, max_size=255), st.lists(floats, min_size=1, max_size=80), floats)
def test_codes_equal_the_reference_for_any_thresholds(isa, levels, numbers, scale):
    t, x = np.sort(np.float32(levels)), np.float32([numbers + levels])
    codes, scale = np.empty(x.shape, np.uint8), np.float32([[scale]])
    _core.nearest_level(x, x.size, x.size, scale, t, codes, 1)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(codes, reference.nearest_level(x, t, scale, x.size))


@pytest.mark.parametrize("count", COUNTS)
def test_nan_counts_nothing_and_infinity_everything(isa, count, rng):
    x, codes = np.tile(np.float32([np.nan, -np.inf, np.inf]), 50), np.empty(150, np.uint8)
    _core.nearest_level(x, 150, 150, np.ones(1, np.float32), _thresholds(rng, count, "normal"), codes, 1)
    np.testing.assert_array_equal(codes.reshape(-1, 3), [[0, 0, count]] * 50)


@by_isa
@given(st.lists(floats, min_size=1, max_size=256), st.lists(floats, min_size=1, max_size=50), st.floats(0, 9, width=32))
def test_codes_ascend_with_the_numbers(isa, levels, numbers, scale):
    codes = nearest_level(np.sort(np.float32(numbers)), np.sort(np.float32(levels)), scale=scale)
    assert np.all(np.diff(codes.astype(int)) >= 0) and codes.max() < len(levels)


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 16, 40, 256])
def test_no_level_is_nearer(levels, rng):
    x, c = rng.standard_normal(5000).astype(np.float32), np.sort(rng.standard_normal(levels)).astype(np.float32)
    distance = np.abs(x[:, None].astype(np.float64) - c)
    chosen = np.take_along_axis(distance, nearest_level(x, c)[:, None].astype(int), 1)[:, 0]
    np.testing.assert_allclose(chosen, distance.min(axis=1), atol=1e-6)


def test_half_way_is_the_upper_level():
    np.testing.assert_array_equal(nearest_level([-1.5, -0.0, 1.5], [-2, -1, 1, 2]), [1, 2, 3])


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_workers_do_not_change_codes(isa, levels, rng):
    x = rng.standard_normal((3, 150_001), dtype=np.float32)
    scale = rng.random((3, 2344)).astype(np.float32)
    one = nearest_level(x, lloyd_max(levels), scale=scale, group=64)
    np.testing.assert_array_equal(one, nearest_level(x, lloyd_max(levels), scale=scale, group=64, workers=5))
    y = dequantize(one, lloyd_max(levels), scale=scale, group=64)
    np.testing.assert_array_equal(y, dequantize(one, lloyd_max(levels), scale=scale, group=64, workers=5))
    alone = nearest_level(x[0], lloyd_max(levels), workers=3)
    np.testing.assert_array_equal(alone, nearest_level(x, lloyd_max(levels))[0])


def test_scale_is_for_all_for_a_row_or_for_a_group(rng):
    x, c = rng.standard_normal((4, 3, 10)).astype(np.float32), lloyd_max(8)
    expected = nearest_level(x * np.float32(0.5), c)
    for shape, group in [((), None), ((3,), None), ((4, 1), None), ((), 4), ((3,), 4), ((4, 3, 3), 4), ((4, 3, 1), 99)]:
        np.testing.assert_array_equal(nearest_level(x, c, scale=np.full(shape, 0.5), group=group), expected)
    scale = rng.random((4, 3, 3)).astype(np.float32)
    expected = nearest_level(x * np.repeat(scale, 4, axis=-1)[..., :10], c)
    np.testing.assert_array_equal(nearest_level(x, c, scale=scale, group=4), expected)


@pytest.mark.parametrize("x", [
    *(np.array([[1.2, -0.3], [9, 0]], dtype) for dtype in (np.float64, np.float16, ml_dtypes.bfloat16, ">f4")),
    np.float32([[1.2, 9], [-0.3, 0]]).T, np.float32([[1.2, 7, -0.3], [9, 7, 0]])[:, ::2],
    np.array([[1, 0], [9, 0]]), [[1.2, -0.3], [9, 0]],
])  # fmt: skip
def test_any_array_of_numbers_is_taken(x):
    np.testing.assert_array_equal(nearest_level(x, [-1, 0, 1]), [[2, 1], [2, 1]])


def test_small_and_empty_arrays():
    assert nearest_level(0.9, [0, 1]).shape == () and nearest_level(0.9, [0, 1]) == 1
    assert nearest_level([], [0, 1]).shape == (0,) and nearest_level(np.zeros((3, 0)), [0, 1], group=4).shape == (3, 0)
    assert nearest_level(np.zeros((0, 3)), [0, 1], scale=np.ones((0,))).shape == (0, 3)
    np.testing.assert_array_equal(nearest_level([5.0, -5.0], [2.0]), [0, 0])
    assert dequantize(np.uint8(1), [0, 7]) == 7 and dequantize(np.uint8([]), [1]).shape == (0,)


def test_results_go_where_they_are_asked_to(rng):
    x = rng.standard_normal(100).astype(np.float32)
    x.flags.writeable = False
    codes, y = np.empty(100, np.uint8), np.empty(100, np.float32)
    assert nearest_level(x, lloyd_max(4), out=codes) is codes and dequantize(codes, lloyd_max(4), out=y) is y
    np.testing.assert_array_equal(codes, nearest_level(x, lloyd_max(4)))
    with pytest.raises(ValueError, match="out is float32"):
        nearest_level(x, [0], out=y)


@pytest.mark.parametrize("arguments, message", [
    ({"x": [1, np.nan]}, r"x\[1\] is nan"),
    ({"x": [1, 1e39]}, r"x\[1\] is inf"),
    ({"scale": np.inf}, "scale is inf"),
    ({"scale": [1, 2]}, r"scale has shape \(2,\), which doesn't broadcast to \(\)"),
    ({"group": 0}, "group is 0"),
    ({"workers": 0}, "workers is 0"),
])  # fmt: skip
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nearest_level(**{"x": [1.0, 2.0], "codebook": [0, 1], **arguments})


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="x has dtype complex128"):
        nearest_level([1j], [0, 1])


# dequantize


@pytest.mark.parametrize("top", [2, 16, 32, 256, 65536])
def test_values_equal_the_reference_bit_for_bit(isa, top, rng):
    dtype = np.uint8 if top <= 256 else np.uint16
    table = rng.standard_normal(1 << 8 * np.dtype(dtype).itemsize).astype(np.float32)
    table[:6] = [0, -0.0, 1e-45, 3.4e38, -3.4e38, 1e-39]
    for rows, n in SHAPES:
        for group in {n, min(n, 5), min(n, 32), min(n, 64)}:
            codes = rng.integers(0, top, (rows, n), dtype)
            codes[rng.random((rows, n)) < 0.02] = top - 1
            scale, zero = rng.standard_normal((2, rows, -(-n // group))).astype(np.float32)
            for z in (None, zero):
                y = np.full((rows, n), np.nan, np.float32)
                _core.dequantize(codes, n, group, table, scale, z, y, 1)
                with np.errstate(over="ignore"):
                    expected = reference.dequantize(codes, table, scale, z, group)
                assert y.tobytes() == expected.tobytes()  # also -0


def test_codes_of_any_integer_type_are_taken(rng):
    codes = rng.integers(0, 4, (5, 9))
    expected = np.float32([-1, 0, 2, 5])[codes]
    for dtype in (np.uint8, np.int8, np.uint16, np.int64, ">u2"):
        np.testing.assert_array_equal(dequantize(codes.astype(dtype), [-1, 0, 2, 5]), expected)
    np.testing.assert_array_equal(dequantize(codes[:, ::2], [-1, 0, 2, 5]), expected[:, ::2])
    np.testing.assert_array_equal(dequantize([True, False], [3, 4]), [4, 3])
    np.testing.assert_array_equal(dequantize(np.uint8([255, 0]), np.arange(1000)), [255, 0])
    np.testing.assert_array_equal(dequantize([999, 0], np.arange(1000)), [999, 0])
    np.testing.assert_array_equal(dequantize([65535], np.arange(65536)), [65535])


def test_codes_need_not_be_aligned():
    codes = np.arange(300, dtype=np.uint16)
    askew = np.frombuffer(b"-" + codes.tobytes(), np.uint8)[1:].view(np.uint16)
    assert not askew.flags.aligned
    np.testing.assert_array_equal(dequantize(askew, np.arange(300)), codes)


def test_affine_codes_are_a_table_of_integers(rng):
    codes, scale, zero = rng.integers(0, 16, (3, 64)), np.float32([0.5, 0.25, 2]), np.float32([7.5, 8, 0])
    expected = (codes - zero[:, None]) * scale[:, None]
    np.testing.assert_array_equal(dequantize(codes, np.arange(16), scale=scale, zero=zero), expected)


@pytest.mark.parametrize("codes, table, error, message", [
    ([[0, 1], [2, 0]], [5, 6], ValueError, r"codes\[1, 0\] is 2; the table has entries 0 to 1"),
    ([0, -1], [5, 6], ValueError, r"codes\[1\] is -1"),
    ([0.0], [5, 6], TypeError, "codes have dtype float64; they must be integers"),
    ([0], [], ValueError, r"table has shape \(0,\)"),
    ([0], np.zeros(65537), ValueError, r"table has shape \(65537,\)"),
    ([0], [1, np.inf], ValueError, r"table\[1\] is inf"),
])  # fmt: skip
def test_codes_and_tables_that_do_not_fit_are_refused(codes, table, error, message):
    with pytest.raises(error, match=message):
        dequantize(codes, table)


def test_core_refuses_foreign_memory():
    x, codes, one = np.zeros(8, np.float32), np.zeros(8, np.uint8), np.ones(1, np.float32)
    t, table, y = np.zeros(3, np.float32), np.zeros(256, np.float32), np.zeros(8, np.float32)
    for arguments in [
        (x, 8, 8, one, np.zeros(256, np.float32), codes, 1),
        (x, 8, 8, one, t, codes[:7], 1),
        (x, 8, 4, one, t, codes, 1),
        (x, 3, 3, one, t, codes, 1),
        (x, 0, 1, one, t, codes, 1),
        (x, 8, 0, one, t, codes, 1),
        (x, 8, 9, one, t, codes, 1),
    ]:
        with pytest.raises(ValueError):
            _core.nearest_level(*arguments)
    for arguments in [
        (codes, 8, 8, table[:255], one, None, y, 1),
        (codes, 8, 8, table, one, None, y[:7], 1),
        (codes, 8, 8, table, one[:0], None, y, 1),
        (codes, 8, 4, table, np.ones(2, np.float32), one, y, 1),
        (codes.astype(np.uint16), 8, 8, table, one, None, y, 1),
    ]:
        with pytest.raises(ValueError):
            _core.dequantize(*arguments)
    for arguments in [(codes.astype(int), 8, 8, table, one, None, y, 1), (codes, 8, 8, table, one, 3.0, y, 1)]:
        with pytest.raises(TypeError):
            _core.dequantize(*arguments)
    with pytest.raises(TypeError):
        _core.nearest_level(x.astype(np.float64), 8, 8, one, t, codes, 1)
