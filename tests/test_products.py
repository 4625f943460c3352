import ctypes
import mmap
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits import Encoded, _chunks, _core, decode, quantize
from evenbits.bit_shift import row_bytes
from evenbits.products import Linear, linear
from evenbits.reference import bit_shift
from evenbits.reference import products as reference
from evenbits.reference.packing import pack

U = 2.0**-24
LENGTHS = [1, 2, 7, 8, 9, 31, 64, 100, 127, 128, 129, 260, 1000]


def packed(codes, bits, extra=0):
    """Rows of as few bytes as hold them, and `extra` more, with bits set behind the last code."""
    n = codes.shape[-1]
    rows = np.full((len(codes), -(-n * bits // 8) + extra), 0xFF, np.uint8)
    exact = pack(codes, bits)[:, : -(-n * bits // 8)]
    rows[:, : exact.shape[1]] = exact
    if n * bits % 8 and n:
        rows[:, exact.shape[1] - 1] |= 0xFF << n * bits % 8 & 0xFF
    return rows


def at_a_wall(array):
    """A copy that ends where memory does: to read a byte behind it ends the process, where the system has such walls."""
    size = -(-max(array.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, size + mmap.PAGESIZE), np.uint8)
    protect = getattr(ctypes.CDLL(None), "mprotect", None) if hasattr(mmap, "PROT_READ") else None
    if protect:
        protect(ctypes.c_void_p(memory.ctypes.data + size), ctypes.c_size_t(mmap.PAGESIZE), 0)
    copy = memory[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def matrix(rng, rows, n, bits, group, zero, levels="random"):
    """Arguments of the kernel, and of the reference."""
    codes = rng.integers(0, 1 << bits, (rows, n)).astype(np.uint8)
    table = np.full(256, np.nan, np.float32)  # what no code means does not matter
    table[: 1 << bits] = rng.standard_normal(1 << bits) if levels == "random" else np.arange(1 << bits) - (1 << bits) / 2 + 0.5
    groups = -(-n // group)
    scale = rng.standard_normal((rows, groups)).astype(np.float32)
    zeros = rng.integers(0, 1 << bits, (rows, groups)).astype(np.float32) if zero else None
    return codes, table, scale, zeros


def product(codes, bits, table, scale, zero, group, x, extra=0, workers=1):
    y = np.full((len(x), len(codes)), np.nan, np.float32)
    data = packed(codes, bits, extra)
    _core.product(data, len(codes), codes.shape[1], bits, table, scale, zero, group, x, y, 0, workers)
    return y


@pytest.mark.parametrize("levels", ["random", "affine"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_kernel_equals_the_reference(isa, bits, levels, rng):
    for n in LENGTHS:
        for group in {8, 16, 32, 24, 5, 100, 128, 256, n}:
            zero, columns, extra = bool((n + group) % 2), 1 + (n + group) % 5, group % 3
            if group <= n:
                codes, table, scale, zeros = matrix(rng, 5, n, bits, group, zero, levels)
                x = rng.standard_normal((columns, n)).astype(np.float32)
                expected = reference.product(x, table[codes], scale, group, zeros)
                np.testing.assert_array_equal(product(codes, bits, table, scale, zeros, group, x, extra), expected)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 15, 16, 17, 33, 65])
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 17])
def test_any_number_of_rows_and_columns(isa, rows, columns, rng):
    codes, table, scale, zeros = matrix(rng, rows, 300, 4, 32, True)
    x = rng.standard_normal((columns, 300)).astype(np.float32)
    expected = reference.product(x, table[codes], scale, 32, zeros)
    np.testing.assert_array_equal(product(codes, 4, table, scale, zeros, 32, x), expected)


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("n", [2048, 2049, 4100])
def test_long_rows(isa, n, columns, rng):
    for group in (32, 192, 2560, n):
        codes, table, scale, zeros = matrix(rng, 3, n, 3, group, group == 192)
        x = rng.standard_normal((columns, n)).astype(np.float32)
        expected = reference.product(x, table[codes], scale, group, zeros)
        np.testing.assert_array_equal(product(codes, 3, table, scale, zeros, group, x), expected)


@pytest.mark.parametrize("n", LENGTHS)
def test_numbers_instead_of_codes(isa, n, rng):
    for group, columns, zero in ((n, 1, False), (n, 5, True), (8, 3, True), (5, 2, True)):
        if group <= n:
            w, x = rng.standard_normal((6, n)).astype(np.float32), rng.standard_normal((columns, n)).astype(np.float32)
            scale = rng.standard_normal((6, -(-n // group))).astype(np.float32)
            zeros = np.rint(scale * 4) if zero else None
            y = np.empty((columns, 8), np.float32)
            _core.product(w, 6, n, 32, np.zeros(256, np.float32), scale, zeros, group, x, y, 1, 1)
            np.testing.assert_array_equal(y[:, 1:7], reference.product(x, w, scale, group, zeros))


def bytewise(codes, bits, units, center, step, scale, zero, group, x, workers=1):
    y, table = np.full((len(x), len(codes)), np.nan, np.float32), np.full(256, 255, np.uint8)
    table[: 1 << bits] = units
    fixed = packed(codes, bits), len(codes), codes.shape[1], bits, table, center, step
    _core.product_bytes(*fixed, scale, zero, group, x, y, 0, workers)
    return y


@pytest.mark.parametrize("units", ["codes", "small", "all"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_bytes_equal_the_reference(isa, bits, units, rng):
    whole = {"codes": np.arange(1 << bits), "small": rng.integers(0, 129, 1 << bits), "all": rng.integers(0, 256, 1 << bits)}
    whole["all"][:2] = 0, 255
    for n in [*LENGTHS, 4400]:
        for group in {8, 16, 32, 24, 128, 256, n}:
            zero, columns = bool((n + group) % 2), 1 + (n + group) % 3
            if group <= n and (n < 1000 or group in (32, 24, n)):
                codes, _, scale, zeros = matrix(rng, 5, n, bits, group, zero)
                x = rng.standard_normal((columns, n)).astype(np.float32) * np.float32(3)
                center, table = float(np.float32(rng.standard_normal())), whole[units].astype(np.uint8)
                expected = reference.product_bytes(x, table[codes], center, 0.75, scale, group, zeros)
                np.testing.assert_array_equal(bytewise(codes, bits, table, center, 0.75, scale, zeros, group, x), expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_greatest_bytes_do_not_overflow(isa, bits):
    codes, one = np.full((3, 1000), (1 << bits) - 1, np.uint8), np.ones((3, 1), np.float32)
    for x in (np.ones((2, 1000)), -np.ones((1, 1000)), np.full((1, 1000), 2.0**100), np.full((1, 1000), 1e-40)):
        y = bytewise(codes, bits, np.full(1 << bits, 255), 0, 1, one, None, 1000, x.astype(np.float32))
        sums = np.where(np.abs(x[:, :1]) < 1e-30, 0, x[:, :1]) * 255000
        np.testing.assert_allclose(y, np.repeat(sums, 3, axis=1), rtol=1e-6)


def test_workers_and_many_columns_do_not_change_bytewise_products(isa, rng):
    codes, _, scale, zeros = matrix(rng, 501, 520, 3, 40, True)
    for columns in (1, 2, 17, 70):
        x = rng.standard_normal((columns, 520)).astype(np.float32)
        args = codes, 3, np.arange(8), 0, 1, scale, zeros, 40, x
        one = bytewise(*args)
        np.testing.assert_array_equal(one, reference.product_bytes(x, codes, 0, 1, scale, 40, zeros))
        for workers in (2, 7):
            np.testing.assert_array_equal(bytewise(*args, workers=workers), one)


def test_workers_do_not_change_the_bytes(isa, rng):
    codes, table, scale, zeros = matrix(rng, 501, 520, 5, 40, True)
    for columns in (1, 6, 70):
        x = rng.standard_normal((columns, 520)).astype(np.float32)
        one = product(codes, 5, table, scale, zeros, 40, x)
        for workers in (2, 7):
            np.testing.assert_array_equal(product(codes, 5, table, scale, zeros, 40, x, workers=workers), one)


def test_the_product_is_never_minus_zero(isa, rng):
    codes, table, scale, _ = matrix(rng, 4, 40, 2, 40, False)
    for x in (np.zeros((1, 40)), -np.zeros((1, 40)), np.full((3, 40), -1e-45)):
        y = product(codes, 2, table, scale * np.float32(-1e-30), None, 40, x.astype(np.float32))
        assert not np.signbit(y[y == 0]).any()


KINDS = [
    *(("near_democratic", bits, {}) for bits in (1, 2, 3, 4, 8, 0.5, 2.5, 9)),
    ("near_democratic", 4, {"rounds": 3, "seed": 5}),
    ("near_democratic", 3, {"levels": "uniform", "scale_dtype": "float16"}),
    *(("democratic", bits, {}) for bits in (2, 4, 0.5)),
    *(("uniform", bits, {}) for bits in (1, 2, 4, 8, 0.4, 1.5, 12, 16)),
    *(("uniform", bits, {"range": "min_max", "per": per}) for bits in (3, 8, 10, 3.3) for per in ("row", "tensor", 16, 7)),
    *(("uniform", 4, {"per": per, "scale_dtype": "bfloat16"}) for per in (8, 32, "tensor")),
    *(("lloyd_max", bits, {"law": law}) for bits in (2, 5, 2.5) for law in ("laplacian", "empirical")),
    ("lloyd_max", 4, {"per": 32, "scale_dtype": "float64"}),
]


def bound(w, x, spec):
    """Of the error against the exact product of decoded weights: rounding of sums, of decoding, and of rotations."""
    w, x = w.astype(np.float64), x.astype(np.float64)
    norms = np.linalg.norm(x, axis=-1)[..., None] * np.linalg.norm(w, axis=-1)
    coordinates = (spec.length / 128 + 24) * U * (np.abs(x) @ np.abs(w).T if spec.embedding is None else 3 * norms)
    rotation = 0 if spec.embedding is None else (8 * np.log2(spec.length + 1) * spec.embedding.rounds + 32) * U * norms
    return coordinates + rotation + 2.0**-126


@pytest.mark.parametrize("method, bits, options", KINDS, ids=str)
def test_linear_equals_decoding_and_multiplying(method, bits, options, rng):
    for d in (1, 40, 100, 300):
        if (isinstance(options.get("per"), int) and options["per"] > d) or (bits < 1 and d * bits < 1):
            continue
        e = quantize(rng.standard_normal((9, d)).astype(np.float32), bits, method, **options)
        w = decode(e)
        for columns in (1, 4):
            x = rng.standard_normal((columns, d)).astype(np.float32)
            error = np.abs(linear(x, e) - x.astype(np.float64) @ w.astype(np.float64).T)
            assert (error <= bound(w, x, e._spec)).all()


def rounding_of(e, x):
    """What int8 activations add at most: m / 254 an element of x, and half a step of 256 where levels are rounded."""
    spec, n = e._spec, e._spec.kept
    linear_in = Linear(e).matrix
    z = np.abs(linear_in.columns(x, 1)[0]).astype(np.float64)
    cell = linear_in.cell
    cells = np.pad(z, ((0, 0), (0, -n % cell))).reshape(len(z), -1, cell)
    most = np.repeat(cells.max(axis=-1), cell, axis=-1)[:, :n]
    w = np.abs(linear_in.meaning.look_up(linear_in.meaning.unpack(linear_in.codes), linear_in.scale, linear_in.zero))
    error = most / 254 @ w.astype(np.float64).T
    if linear_in.units and spec.grid != "affine":
        levels = linear_in.tables[0][: 1 << spec.codes.bits].astype(np.float64)
        scale = np.repeat(linear_in.scale, min(spec.group or n, n), axis=-1)[:, :n]
        error += (np.ptp(levels) / 510 + 2.0**-19 * np.abs(levels).max()) * ((z + most / 254) @ np.abs(scale).T)
    return error


@pytest.mark.parametrize("method, bits, options", KINDS, ids=str)
def test_int8_activations_stay_within_their_rounding(method, bits, options, rng):
    for d in (1, 40, 300):
        if (isinstance(options.get("per"), int) and options["per"] > d) or (bits < 1 and d * bits < 1):
            continue
        e = quantize(rng.standard_normal((9, d)).astype(np.float32), bits, method, **options)
        for columns in (1, 4):
            x = rng.standard_normal((columns, d)).astype(np.float32) * np.float32(100)
            y = linear(x, e, activations="int8")
            error = np.abs(y - x.astype(np.float64) @ decode(e).astype(np.float64).T)
            assert (error <= rounding_of(e, x) + 2 * bound(decode(e), x, e._spec)).all()


def test_int8_activations_are_exact_for_whole_numbers_on_even_grids(isa, rng):
    w = rng.integers(-7, 8, (6, 40)).astype(np.float32)
    w[:, 0] = 7
    e, x = quantize(w, 4, "uniform", grid="mid_tread"), rng.integers(-127, 128, (3, 40)).astype(np.float32)
    x[:, ::8] = 127
    np.testing.assert_array_equal(decode(e), w)
    np.testing.assert_array_equal(linear(x, e, activations="int8"), x @ w.T)


def test_int8_activations_are_finite(rng):
    e, x = quantize(rng.standard_normal((6, 40)), 4), rng.standard_normal((2, 3, 40)).astype(np.float32)
    x[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"x\[1, 2, 3\] is nan"):
        linear(x, e, activations="int8")
    with pytest.raises(ValueError, match="x is too large: its rotation is beyond float32"):
        linear(np.full(40, 3e38, np.float32), e, activations="int8")


def trellis(codes, n, memory, rate, scale, x, workers=1):
    y = np.full((len(x), len(codes)), np.nan, np.float32)
    _core.bit_shift_product(codes, scale, n, memory, rate.numerator, rate.denominator, x, y, workers)
    return y


@pytest.mark.parametrize("rate", ["1", "2", "3", "4", "3/2", "9/4", "5/2", "7/2", "10/3", "127/64", "262143/65536"])
def test_products_with_a_trellis_equal_the_reference(isa, rate, rng):
    rate = Fraction(rate)
    for i, n in enumerate((8, 13, 16, 100, 129, 2200)):
        for memory in {8, 8 + (i + rate.numerator) % 9, 12, 16} if n < 2000 else {11}:
            if memory <= n:
                codes = at_a_wall(rng.integers(0, 256, (2, row_bytes(n, rate)), np.uint8))
                scale, columns = rng.standard_normal(2).astype(np.float32), 1 + i % 3
                x = at_a_wall(rng.standard_normal((columns, n)).astype(np.float32))
                rows = bit_shift.decode(codes, n, memory, rate.numerator, rate.denominator)
                expected = reference.product(x, rows, scale[:, None], n)
                np.testing.assert_array_equal(trellis(codes, n, memory, rate, scale, x), expected)


def test_workers_and_many_columns_of_a_trellis(isa, rng):
    codes, scale = rng.integers(0, 256, (300, row_bytes(150, Fraction(7, 3))), np.uint8), np.ones(300, np.float32)
    x = rng.standard_normal((70, 150)).astype(np.float32)
    rows = bit_shift.decode(codes, 150, 12, 7, 3)
    for columns in (1, 70):
        for workers in (1, 3):
            y = trellis(codes, 150, 12, Fraction(7, 3), scale, x[:columns], workers)
            np.testing.assert_array_equal(y, reference.product(x[:columns], rows, scale[:, None], 150))


@pytest.mark.parametrize("options", [{}, {"rotate": False, "memory": 9}, {"scale_dtype": "float64", "seed": 3}], ids=str)
@pytest.mark.parametrize("bits", [1, 2, 2.5, 4])
def test_linear_with_a_trellis_equals_decoding_and_multiplying(bits, options, rng):
    for d, size in ((1, 1), (5, 1), (100, 1e-30), (150, 1e30)):
        e = quantize(rng.standard_normal((9, d)) * size, bits, "trellis", **options)
        w, x = decode(e).astype(np.float64), rng.standard_normal((3, d)).astype(np.float32)
        norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)
        assert (np.abs(linear(x, e) - x @ w.T) <= 60 * U * norms + 2.0**-126).all()
        assert (np.abs(linear(x, e, activations="int8") - x @ w.T) <= 0.02 * norms).all()


def test_other_codings_are_refused(rng):
    with pytest.raises(TypeError, match="method 'entropy_trellis' has no code for each value; decode it first"):
        linear(np.ones(64), quantize(rng.standard_normal((20, 64)), 3, "entropy_trellis"))


def test_the_core_refuses_products_with_a_trellis_that_do_not_fit():
    codes, scale, x = np.zeros((2, 4), np.uint8), np.ones(2, np.float32), np.ones((3, 16), np.float32)
    y = np.ones((3, 2), np.float32)
    wrong = {"codes": codes[:1]}, {"x": x[:, :9].copy()}, {"y": y[:2].copy()}, {"scale": scale[:1]}, {"n": 7}, {"memory": 17}
    for change in wrong:
        given = {"codes": codes, "scale": scale, "n": 16, "memory": 8, "bits": 2, "per": 1, "x": x, "y": y, "workers": 1}
        with pytest.raises(ValueError):
            _core.bit_shift_product(**(given | change))


@pytest.mark.parametrize(
    "bits, method", [(4, "near_democratic"), (2.5, "uniform"), (12, "uniform"), (3, "democratic"), (2, "trellis")]
)
def test_instruction_sets_workers_and_chunks_agree(bits, method, rng, monkeypatch):
    e, x = quantize(rng.standard_normal((333, 200)), bits, method), rng.standard_normal((3, 200)).astype(np.float32)
    before, found = _core.isa(), set()
    monkeypatch.setattr(_chunks, "CHUNK", 3000)
    try:
        for name in _core.available_isas():
            _core.use_isa(name)
            for kind in ("float32", "int8"):
                found |= {(kind, linear(x, e, activations=kind, workers=workers).tobytes()) for workers in (1, 2, 7)}
    finally:
        _core.use_isa(before)
    monkeypatch.undo()
    assert found == {(kind, linear(x, e, activations=kind).tobytes()) for kind in ("float32", "int8")}


@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**32), st.floats(-8, 8, width=32))
def test_linear_in_x_up_to_rounding(bits, d, columns, seed, factor):
    rng = np.random.default_rng(seed)
    e = quantize(rng.standard_normal((6, d)).astype(np.float32), bits, seed=seed)
    x, z = rng.standard_normal((2, columns, d)).astype(np.float32)
    together = linear(np.float32(factor) * x + z, e)
    apart = np.float64(factor) * linear(x, e) + linear(z, e)
    sizes = np.float32(abs(factor)) * np.abs(x) + np.abs(z)
    assert (np.abs(together - apart) <= 4 * bound(decode(e), sizes, e._spec)).all()


@pytest.mark.parametrize("power", [-100, -70, 63, 100])
def test_scales_of_any_size(power, rng):
    w, x = np.ldexp(rng.standard_normal((4, 50)), power), rng.standard_normal((2, 50)).astype(np.float32)
    w[1] = 0
    for bits, method in ((4, "near_democratic"), (2.5, "uniform"), (3, "lloyd_max")):
        e = quantize(w, bits, method, scale_dtype="float64")
        np.testing.assert_allclose(linear(x, e), x.astype(np.float64) @ decode(e).T, rtol=1e-4, atol=float(np.ldexp(1e-5, power)))


def test_shapes_are_those_of_a_matrix_product(rng):
    w, x = rng.standard_normal((3, 4, 40)).astype(np.float32), rng.standard_normal((2, 5, 40)).astype(np.float32)
    e = quantize(w, 4)
    y = linear(x, e)
    assert y.shape == (2, 5, 3, 4)
    np.testing.assert_array_equal(linear(x[1, 2], e), y[1, 2])
    np.testing.assert_array_equal(linear(x, quantize(w[0, 0], 4)), y[..., 0, 0])
    assert linear(x[:0], e).shape == (0, 5, 3, 4)
    assert linear(x, quantize(w[:0], 4)).shape == (2, 5, 0, 4)
    np.testing.assert_array_equal(linear(np.ones((2, 0)), quantize(np.ones((3, 0)), 4)), np.zeros((2, 3)))


@pytest.mark.parametrize("method", ["near_democratic", "kashin"])
def test_rotations_of_any_length_that_decodes_are_multiplied(method, rng):
    made = quantize(rng.standard_normal((3, 32)), 2, method)
    weights = Encoded(made.planes, {**made.spec, "shape": [3, 24]})
    x = rng.standard_normal((2, 24)).astype(np.float32)
    np.testing.assert_allclose(linear(x, weights), x @ decode(weights).T, atol=1e-4)


def test_dtypes(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    e, x = quantize(rng.standard_normal((6, 40)), 4), rng.integers(-9, 9, (3, 40)).astype(np.float32)
    y = linear(x, e)
    assert y.dtype == np.float32
    for dtype in (np.float64, np.int8, np.int64, ">f4", np.dtype("<f4")):
        np.testing.assert_array_equal(linear(x.astype(dtype), e), y)
        assert linear(x.astype(dtype), e).dtype == np.float32
    for dtype in (np.float16, ml_dtypes.bfloat16):
        assert linear(x.astype(dtype), e).dtype == dtype
        np.testing.assert_array_equal(linear(x.astype(dtype), e), y.astype(dtype))
    np.testing.assert_array_equal(linear(np.asfortranarray(x), e), y)
    np.testing.assert_array_equal(linear(np.repeat(x, 2, axis=1)[:, ::2], e), y)
    np.testing.assert_array_equal(linear(x.tolist(), e), y)
    with pytest.raises(TypeError, match="x has dtype complex128"):
        linear(x.astype(complex), e)


def test_nan_and_infinity_spread_in_their_column_alone(rng):
    e, x = quantize(rng.standard_normal((6, 40)), 4, "uniform"), rng.standard_normal((5, 40)).astype(np.float32)
    y = linear(x, e)
    x[1, 3], x[4, 7] = np.nan, np.inf
    z = linear(x, e)
    assert not np.isfinite(z[[1, 4]]).any()
    np.testing.assert_array_equal(z[[0, 2, 3]], y[[0, 2, 3]])


def test_output_goes_where_it_is_asked(rng):
    e, x = quantize(rng.standard_normal((6, 40)), 4), rng.standard_normal((3, 40)).astype(np.float32)
    out = np.empty((3, 6), np.float32)
    assert linear(x, e, out=out) is out
    np.testing.assert_array_equal(out, Linear(e)(x))
    half = np.empty((3, 6), np.float16)
    assert linear(x.astype(np.float16), e, out=half) is half
    with pytest.raises(ValueError, match=r"out is float32\(6, 3\); it must be float32\(3, 6\)"):
        linear(x, e, out=np.empty((6, 3), np.float32))
    square = quantize(np.eye(6), 4)
    with pytest.raises(ValueError, match="out overlaps x"):
        linear(out, square, out=out)


def test_mistakes_are_named(rng):
    e = quantize(rng.standard_normal((6, 40)), 4)
    with pytest.raises(ValueError, match=r"x has shape \(3, 41\) and weights \(6, 40\); their last axes"):
        linear(np.ones((3, 41)), e)
    with pytest.raises(ValueError, match=r"x has shape \(\)"):
        linear(1.0, e)
    with pytest.raises(TypeError, match="weights is a ndarray; pass what quantize or load gave"):
        linear(np.ones(3), np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"weights has shape \(\)"):
        linear(np.ones(1), quantize(1.0, 4))
    with pytest.raises(ValueError, match="activations is 'int4'; known are"):
        linear(np.ones(40), e, activations="int4")
    with pytest.raises(evenbits.EncodedError, match="plane 'scales' is missing"):
        linear(np.ones(40), Encoded({"codes": e.planes["codes"]}, e.spec))
    with pytest.raises(ValueError, match="workers"):
        linear(np.ones(40), e, workers=0)


class TestMemory:
    """_core itself refuses what would reach beyond an array."""

    def arguments(self):
        return {
            "codes": np.zeros((3, 32), np.uint8),
            "rows": 3,
            "n": 64,
            "bits": 4,
            "levels": np.zeros(256, np.float32),
            "scale": np.ones((3, 2), np.float32),
            "zero": np.ones((3, 2), np.float32),
            "group": 32,
            "x": np.ones((2, 64), np.float32),
            "y": np.ones((2, 3), np.float32),
            "first": 0,
            "workers": 1,
        }

    @pytest.mark.parametrize(
        "wrong",
        [
            {"codes": np.zeros((3, 31), np.uint8)},
            {"codes": np.zeros(97, np.uint8)},
            {"codes": np.zeros((3, 32), np.int8)},
            {"rows": 4},
            {"n": 65},
            {"n": 2**62},
            {"bits": 0},
            {"bits": 5},
            {"bits": 9},
            {"bits": 32},
            {"levels": np.zeros(16, np.float32)},
            {"scale": np.ones(5, np.float32)},
            {"scale": np.ones((3, 2))},
            {"zero": np.ones(3, np.float32)},
            {"zero": 1.0},
            {"group": 0},
            {"group": 31},
            {"x": np.ones((2, 63), np.float32)},
            {"x": np.ones((2, 64))},
            {"x": np.ones((64, 2), np.float32).T},
            {"y": np.ones((2, 2), np.float32)},
            {"y": np.ones(6, np.float32)},
            {"y": np.ones((2, 3))},
            {"first": 1},
            {"first": 2**63},
        ],
        ids=lambda w: next(f"{k}-{getattr(v, 'shape', v)}" for k, v in w.items()),
    )
    def test_refuses(self, wrong):
        right = self.arguments()
        _core.product(**right)
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            _core.product(**{**right, **wrong})
        right = {k: v for k, v in right.items() if k != "levels"} | {"units": np.zeros(256, np.uint8), "center": 0, "step": 1}
        _core.product_bytes(**right)
        wrong = {"units" if k == "levels" else k: v for k, v in wrong.items()}
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            _core.product_bytes(**{**right, **wrong})

    def test_bytewise_groups_hold_whole_octets(self):
        with pytest.raises(ValueError, match="group must be a multiple of 8 or at least n"):
            arguments = self.arguments() | {"units": np.zeros(256, np.uint8), "center": 0, "step": 1, "group": 36}
            _core.product_bytes(**{k: v for k, v in arguments.items() if k != "levels"})

    @pytest.mark.parametrize("bits", range(1, 9))
    def test_reads_nothing_but_the_codes(self, isa, bits, rng):
        for n in (1, 8, 60, 128, 200, 513):
            codes, table, scale, _ = matrix(rng, 3, n, bits, n, False)
            x, y = rng.standard_normal((4, n)).astype(np.float32), np.empty((4, 3), np.float32)
            y = at_a_wall(y)
            fixed = at_a_wall(packed(codes, bits)), 3, n, bits, at_a_wall(table), at_a_wall(scale), None, n, at_a_wall(x), y
            _core.product(*fixed, 0, 1)
            np.testing.assert_array_equal(y, reference.product(x, table[codes], scale, n))

    @pytest.mark.parametrize("columns", [1, 2, 5])
    @pytest.mark.parametrize("bits", range(1, 9))
    def test_reads_nothing_but_the_codes_with_bytes(self, isa, bits, columns, rng):
        units = rng.integers(0, 256, 256).astype(np.uint8)
        for n in (1, 8, 60, 130, 200, 513, 1030):
            codes, _, scale, _ = matrix(rng, 3, n, bits, n, False)
            x, y = rng.standard_normal((columns, n)).astype(np.float32), at_a_wall(np.empty((columns, 3), np.float32))
            fixed = at_a_wall(packed(codes, bits)), 3, n, bits, units, 7.0, 0.5, at_a_wall(scale), None, n, at_a_wall(x), y
            _core.product_bytes(*fixed, 0, 1)
            np.testing.assert_array_equal(y, reference.product_bytes(x, units[codes], 7.0, 0.5, scale, n))
