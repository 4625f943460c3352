import mmap
from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits import _core
from evenbits.packing import Radix, pack, pack_radix, radix_block, radix_for, row_bytes, unpack, unpack_radix
from evenbits.reference import packing as reference

BITS = range(1, 17)
LENGTHS = [*range(131), 255, 256, 257, 1000, 4099]
RADICES = [
    Radix(3, 0, 5, 8),
    Radix(2, 1, 2, 3),
    Radix(5, 7, 25, 63),
    Radix(4, 2, 3, 7),
    Radix(6, 0, 3, 9),
    Radix(256, 0, 8, 64),
    Radix(256, 1, 2, 17),
    Radix(65535, 3, 4, 64),
    Radix(2, 0, 64, 64),
    Radix(2, 36, 37, 60),
    Radix(10, 0, 19, 64),
]


def random_codes(rng, shape, bits):
    return rng.integers(0, 2**bits, shape, np.uint8 if bits <= 8 else np.uint16)


def random_digits(rng, shape, radix):
    codes = rng.integers(0, radix.levels, shape, np.uint16)
    upper = radix.upper_digits(shape[-1])
    codes[..., :upper] = rng.integers(0, radix.levels + 1, (*shape[:-1], upper))
    return codes.astype(radix.dtype)


def fields(radix):
    return radix.levels, radix.upper, radix.per, radix.bits


# Codes of a whole number of bits


@pytest.mark.parametrize("bits", BITS)
def test_packs_and_unpacks_as_the_reference(isa, bits, rng):
    for n in LENGTHS:
        codes = random_codes(rng, (3, n), bits)
        packed = reference.pack(codes, bits)
        np.testing.assert_array_equal(pack(codes, bits), packed)
        np.testing.assert_array_equal(unpack(packed, bits, n), codes)
    np.testing.assert_array_equal(reference.unpack(packed, bits, n), codes)


@pytest.mark.parametrize("bits", BITS)
def test_code_i_stands_at_bit_i_times_bits(bits):
    codes = np.arange(40) * 7919 % 2**bits
    number = int.from_bytes(pack(codes, bits).tobytes(), "little")
    assert [number >> i * bits & (2**bits - 1) for i in range(40)] == codes.tolist()
    assert number >> 40 * bits == 0


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 1001])
def test_one_bit_is_packbits_little_up_to_padding(n, rng):
    codes = random_codes(rng, (5, n), 1)
    expected = np.packbits(codes, axis=-1, bitorder="little")
    packed = pack(codes, 1)
    np.testing.assert_array_equal(packed[:, : expected.shape[1]], expected)
    assert not packed[:, expected.shape[1] :].any()


@pytest.mark.parametrize("workers", [1, 2, 7, -1])
@pytest.mark.parametrize("bits", [1, 3, 8, 11])
def test_threads_do_not_change_a_byte(workers, bits, rng):
    codes = random_codes(rng, (301, 999), bits)
    packed = pack(codes, bits, workers=workers)
    np.testing.assert_array_equal(packed, pack(codes, bits))
    np.testing.assert_array_equal(unpack(packed, bits, 999, workers=workers), codes)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (1,), (2, 1, 3, 4)])
def test_leading_axes_are_rows(shape, rng):
    codes = random_codes(rng, shape, 5)
    packed = pack(codes, 5)
    assert packed.shape == (*shape[:-1], row_bytes(shape[-1], 5))
    np.testing.assert_array_equal(unpack(packed, 5, shape[-1]), codes)
    radix = radix_block(5)
    packed = pack_radix(codes % 5, 5)
    assert packed.shape == (*shape[:-1], radix.row_bytes(shape[-1]))
    np.testing.assert_array_equal(unpack_radix(packed, 5, shape[-1]), codes % 5)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_unpack_inverts_pack(data):
    bits = data.draw(st.integers(1, 16))
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=200))
    restored = unpack(pack(np.array(codes, np.int64), bits), bits, len(codes))
    assert restored.tolist() == codes
    assert restored.dtype == (np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", ">i4", "<i8", ">u8", "?"])
def test_takes_every_integer_dtype(dtype, rng):
    codes = random_codes(rng, (3, 70), 1)
    np.testing.assert_array_equal(pack(codes.astype(dtype), 1), pack(codes, 1))
    np.testing.assert_array_equal(pack(codes.astype(dtype), 10), pack(codes, 10))
    np.testing.assert_array_equal(pack_radix(codes.astype(dtype), 3), pack_radix(codes, 3))


def test_takes_strided_and_read_only_arrays(rng):
    codes = random_codes(rng, (40, 70), 3)
    frozen = codes.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(pack(frozen, 3), pack(codes, 3))
    np.testing.assert_array_equal(pack(codes.T[::-1], 3), pack(codes.T[::-1].copy(), 3))
    wide = np.repeat(pack(codes, 3), 2, axis=-1)
    np.testing.assert_array_equal(unpack(wide[:, ::2], 3, 70), codes)


def test_takes_codes_that_are_not_aligned(rng):
    codes = random_codes(rng, (3, 70), 9).astype(np.uint16)
    askew = np.frombuffer(b"-" + codes.tobytes(), np.uint8)[1:].view(np.uint16).reshape(codes.shape)
    assert not askew.flags.aligned
    np.testing.assert_array_equal(pack(askew, 9), pack(codes, 9))
    np.testing.assert_array_equal(pack_radix(askew, 600), pack_radix(codes, 600))


def test_writes_into_out(rng):
    codes = random_codes(rng, (4, 33), 6)
    packed, restored = np.full((4, 28), 255, np.uint8), np.empty_like(codes)
    assert pack(codes, 6, out=packed) is packed
    assert unpack(packed, 6, 33, out=restored) is restored
    np.testing.assert_array_equal(packed, reference.pack(codes, 6))
    np.testing.assert_array_equal(restored, codes)
    with pytest.raises(ValueError, match="out is uint8"):
        pack(codes, 6, out=packed[:3])
    with pytest.raises(ValueError, match="shares memory"):
        unpack(packed, 8, 28, out=packed)
    with pytest.raises(ValueError, match="shares memory"):
        pack(packed, 8, out=packed)


@pytest.mark.parametrize("bits", BITS)
def test_the_kernel_ignores_what_stands_above_the_bits(isa, bits, rng):
    codes = rng.integers(0, 65536, (3, 261), np.uint16)
    packed = np.empty((3, row_bytes(261, bits)), np.uint8)
    _core.pack(codes, 261, bits, packed, 1)
    np.testing.assert_array_equal(packed, reference.pack(codes & (2**bits - 1), bits))
    if bits <= 8:
        _core.pack(codes.astype(np.uint8), 261, bits, packed, 1)
        np.testing.assert_array_equal(packed, reference.pack(codes & (2**bits - 1), bits))
        wide = np.empty((3, 261), np.uint16)
        _core.unpack(packed, 261, bits, wide, 1)
        np.testing.assert_array_equal(wide, codes & (2**bits - 1))


# Digits


@pytest.mark.parametrize("radix", RADICES, ids=str)
def test_radix_packs_and_unpacks_as_the_reference(isa, radix, rng):
    for n in [*range(0, 70), 127, 128, 129, 500, 2049]:
        codes = random_digits(rng, (2, n), radix)
        packed = reference.pack_radix(codes, *fields(radix))
        np.testing.assert_array_equal(pack_radix(codes, radix), packed)
        np.testing.assert_array_equal(unpack_radix(packed, radix, n), codes)
        assert packed.shape[-1] == radix.row_bytes(n)


@pytest.mark.parametrize("radix", RADICES, ids=str)
def test_any_bytes_decode_to_digits_below_their_level_count(isa, radix, rng):
    for n in (1, 7, 64, 333):
        packed = rng.integers(0, 256, (20, radix.row_bytes(n)), np.uint8)
        packed[0] = 255
        codes = unpack_radix(packed, radix, n)
        upper = radix.upper_digits(n)
        assert codes[:, :upper].max(initial=0) <= radix.levels
        assert codes[:, upper:].max(initial=0) < radix.levels
        np.testing.assert_array_equal(codes, reference.unpack_radix(packed, *fields(radix), n))


def test_the_largest_digits_of_the_largest_blocks_survive(isa):
    for radix in RADICES:
        codes = np.full(5 * radix.per + 1, radix.levels - 1, radix.dtype)
        codes[: radix.upper_digits(codes.size)] += 1
        np.testing.assert_array_equal(unpack_radix(pack_radix(codes, radix), radix, codes.size), codes)


def test_five_ternary_digits_fill_a_byte():
    codes = np.indices((3,) * 5).reshape(5, -1).T
    packed = pack_radix(codes.reshape(-1), 3)
    assert packed.size == 244
    np.testing.assert_array_equal(packed[:243], codes @ 3 ** np.arange(5))


def test_an_upper_digit_comes_first_and_least_significant():
    assert pack_radix([2, 1], Radix(2, 1, 2, 3)).tolist() == [2 + 3 * 1, 0, 0, 0]
    assert pack_radix([2, 0, 1, 1], Radix(2, 1, 2, 3)).tolist() == [(2 + 3) | (0 + 3) << 3, 0, 0, 0]


def test_the_last_block_takes_only_the_bits_it_needs():
    radix = Radix(3, 0, 5, 8)
    assert [radix.row_bytes(n) for n in (0, 1, 20, 21)] == [0, 4, 4, 8]
    assert Radix(3, 0, 40, 64).row_bytes(20) == 4
    assert Radix(5, 7, 25, 63).row_bytes(10) == 4


def test_the_kernel_keeps_digits_that_are_too_large_in_their_block(isa):
    radix = Radix(3, 0, 5, 8)
    codes = np.zeros(25, np.uint8)
    codes[5:10] = 255
    packed = np.empty(5, np.uint8)
    _core.pack_radix(codes, 25, *fields(radix), packed, 1)
    assert packed.tolist() == [0, packed[1], 0, 0, 0]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_threads_do_not_change_a_radix_byte(workers, rng):
    radix = Radix(5, 7, 25, 63)
    codes = random_digits(rng, (301, 999), radix)
    packed = pack_radix(codes, radix, workers=workers)
    np.testing.assert_array_equal(packed, pack_radix(codes, radix))
    np.testing.assert_array_equal(unpack_radix(packed, radix, 999, workers=workers), codes)


@settings(deadline=None, max_examples=100)
@given(st.fractions(1, 16), st.integers(0, 300), st.integers(0, 2**32))
def test_unpack_inverts_pack_at_any_rate(rate, n, seed):
    radix = radix_for(rate)
    codes = random_digits(np.random.default_rng(seed), (2, n), radix)
    np.testing.assert_array_equal(unpack_radix(pack_radix(codes, radix), radix, n), codes)


# Which block


@settings(deadline=None, max_examples=200)
@given(st.fractions(1, 16))
def test_a_rate_is_a_ceiling_and_little_is_left_of_it(rate):
    radix = radix_for(rate)
    assert Fraction(radix.bits, radix.per) <= rate
    values = radix.levels ** (radix.per - radix.upper) * (radix.levels + 1) ** radix.upper
    assert values <= 2**radix.bits <= 2**64
    assert 0 <= radix.upper < radix.per
    assert log2(values) / radix.per > rate - log2(3) / (64 // rate)  # a bit of rounding down, and a step of one digit
    assert radix.row_bytes(4096) * 8 <= 4096 * rate + 64


@pytest.mark.parametrize("rate", [Fraction(3, 2), Fraction(8, 5), Fraction(7, 3), 2.5, Fraction(101, 100), 5.9, 15.99])
def test_no_other_block_carries_more(rate):
    def per_digit(levels, upper, per):
        return (levels ** (per - upper) * (levels + 1) ** upper) ** Fraction(1, per)

    radix = radix_for(rate)
    best = per_digit(radix.levels, radix.upper, radix.per)
    for per in range(1, 65):
        bits = int(per * Fraction(rate))
        if bits > 64:
            break
        for levels in range(max(2, int(2**rate) - 2), int(2**rate) + 2):
            for upper in range(per):
                if levels ** (per - upper) * (levels + 1) ** upper <= 2**bits:
                    assert per_digit(levels, upper, per) <= best * (1 + 1e-13)


def test_whole_rates_are_one_plain_code_a_block():
    assert [radix_for(b) for b in range(1, 16)] == [Radix(2**b, 0, 1, b) for b in range(1, 16)]
    assert radix_for(16) == Radix(65535, 3, 4, 64)


def test_radix_block_is_short_and_wastes_little():
    assert radix_block(3) == Radix(3, 0, 5, 8)
    assert [radix_block(2**b) for b in range(1, 16)] == [Radix(2**b, 0, 1, b) for b in range(1, 16)]
    for levels in [*range(2, 300), 1000, 65535]:
        block = radix_block(levels)
        wastes = {
            per: 1 - per * log2(levels) / bits for per in range(1, 65) if (bits := (levels**per - 1).bit_length()) <= 64
        }
        short = [per for per, waste in wastes.items() if waste < 0.01]
        assert block.per == (min(short) if short else min(wastes, key=lambda per: (round(wastes[per], 12), per)))
        assert levels**block.per <= 2**block.bits < 2 * levels**block.per


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1, 0, 1, 1), "levels is 1"),
        ((65537, 0, 1, 16), "levels is 65537"),
        ((3, 0, 0, 8), "per is 0"),
        ((3, 5, 5, 8), "upper is 5"),
        ((3, 0, 6, 8), "6 digits of this kind take 10 bits"),
        ((3, 0, 5, 65), "bits is 65"),
    ],
)
def test_a_radix_must_be_possible(fields, message):
    with pytest.raises(ValueError, match=message):
        Radix(*fields)


@pytest.mark.parametrize("rate", [Fraction(99, 100), 0, -1, 16.01, float("nan"), float("inf")])
def test_a_rate_must_be_from_1_to_16(rate):
    with pytest.raises(ValueError, match="must be from 1 to 16"):
        radix_for(rate)


# Mistakes


@pytest.mark.parametrize("codes", [[[0, 1], [8, 9]], np.array([[0, 1], [8, -1]]), np.array([[0, 1], [8, 9]], ">u2")])
def test_a_code_out_of_range_is_named(codes):
    with pytest.raises(ValueError, match=r"codes\[1, 0\] is 8; it must be from 0 to 7"):
        pack(codes, 3)


@pytest.mark.parametrize("bits", BITS)
def test_one_code_out_of_range_is_found_wherever_it_stands(isa, bits):
    for dtype in (d for d in ("u1", "i1", "u2", "i2", "i4") if np.iinfo(d).max >= 2**bits):
        for n, rows in ((1, 2), (30, 3), (64, 2), (203, 2)):
            for place in {0, n // 2, n - 1}:
                codes = np.full((rows, n), 2**bits - 1, dtype)
                codes[1, place] += 1
                with pytest.raises(ValueError, match=rf"codes\[1, {place}\] is {2**bits}; .* from 0 to {2**bits - 1}"):
                    pack(codes, bits)


NEGATIVE = [("i1", 3), ("i1", 7), ("i1", 8), ("i1", 9), ("i2", 8), ("i2", 15), ("i2", 16), ("i8", 16)]


@pytest.mark.parametrize(("dtype", "bits"), NEGATIVE)
def test_negative_codes_are_named(isa, dtype, bits):
    with pytest.raises(ValueError, match=r"codes\[2\] is -1"):
        pack(np.array([0, 1, -1], dtype), bits)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_kernel_returns_the_bits_that_it_left_out(isa, workers):
    codes = np.zeros((1000, 200), np.uint8)
    packed = np.empty((1000, 75), np.uint8)
    assert _core.pack(codes, 200, 3, packed, workers) == 0
    codes[1, 199], codes[999, 7] = 0x27, 0x80
    assert _core.pack(codes, 200, 3, packed, workers) == (0x27 | 0x80) >> 3
    assert _core.pack(codes.astype(np.uint16) << 8, 200, 11, np.empty((1000, 275), np.uint8), workers) == 0xA700 >> 11
    assert _core.pack(codes, 200, 8, np.empty((1000, 200), np.uint8), workers) == 0


def test_a_digit_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"codes\[3\] is 2; it must be from 0 to 1"):
        pack_radix([2, 2, 1, 2], Radix(2, 1, 2, 3))
    with pytest.raises(ValueError, match=r"codes\[0\] is -1; it must be from 0 to 2"):
        pack_radix([-1, 2, 1, 2], Radix(2, 1, 2, 3))


def test_other_arguments_are_refused_in_the_callers_words(rng):
    packed = pack(random_codes(rng, (2, 50), 4), 4)
    for call, error, message in [
        (lambda: pack(np.zeros(4), 4), TypeError, "codes is float64"),
        (lambda: pack(np.uint8(4), 4), TypeError, "at least one axis"),
        (lambda: pack([1], 0), ValueError, "bits is 0"),
        (lambda: pack([1], 17), ValueError, "bits is 17"),
        (lambda: pack([1], 2.5), TypeError, "bits is 2.5"),
        (lambda: pack([1], 2, workers=0), ValueError, "workers is 0"),
        (lambda: pack_radix([1], 1), ValueError, "levels is 1"),
        (lambda: unpack(packed, 4, 57), ValueError, "rows of 28 bytes; 57 codes of 4 bits take 32 bytes"),
        (lambda: unpack(packed, 4, -1), ValueError, "count is -1"),
        (lambda: unpack(packed.view(np.int8), 4, 50), TypeError, "packed is int8"),
        (lambda: unpack(packed[0, 0], 4, 50), TypeError, "at least one axis"),
        (lambda: unpack_radix(packed, 3, 2000), ValueError, "2000 digits of Radix"),
        (lambda: radix_for(None), TypeError, "bits_per_digit is None"),
        (lambda: radix_block(65536), ValueError, "levels is 65536"),
    ]:
        with pytest.raises(error, match=message):
            call()


# Memory


def guarded(size, dtype, before=64, after=192):
    """A buffer of 0xAA bytes, and `size` elements in its midst."""
    buffer = np.full(before + size * np.dtype(dtype).itemsize + after, 0xAA, np.uint8)
    return buffer, buffer[before : buffer.size - after].view(dtype)


@pytest.mark.parametrize("bits", BITS)
def test_writes_nothing_beyond_the_output(isa, bits, rng):
    for n in [*range(1, 70), 127, 128, 256, 263]:
        codes = random_codes(rng, (3, n), bits)
        for width in {-(-n * bits // 8), row_bytes(n, bits), row_bytes(n, bits) + 5}:
            buffer, packed = guarded(3 * width, np.uint8)
            _core.pack(codes, n, bits, packed, 1)
            assert (buffer[:64] == 0xAA).all() and (buffer[-192:] == 0xAA).all()
            rows = np.pad(packed.reshape(3, width), ((0, 0), (0, -width % 4)))
            np.testing.assert_array_equal(rows[:, : row_bytes(n, bits)], reference.pack(codes, bits))
            assert not rows[:, row_bytes(n, bits) :].any()
            buffer, restored = guarded(3 * n, codes.dtype)
            _core.unpack(packed, n, bits, restored, 1)
            assert (buffer[:64] == 0xAA).all() and (buffer[-192:] == 0xAA).all()
            np.testing.assert_array_equal(restored, codes.reshape(-1))


@pytest.mark.parametrize("radix", RADICES, ids=str)
def test_radix_writes_nothing_beyond_the_output(isa, radix, rng):
    for n in [*range(1, 70), 263]:
        codes = random_digits(rng, (3, n), radix)
        width = radix.row_bytes(n)
        buffer, packed = guarded(3 * width, np.uint8)
        _core.pack_radix(codes, n, *fields(radix), packed, 1)
        assert (buffer[:64] == 0xAA).all() and (buffer[-192:] == 0xAA).all()
        buffer, restored = guarded(3 * n, codes.dtype)
        _core.unpack_radix(packed, n, *fields(radix), restored, 1)
        assert (buffer[:64] == 0xAA).all() and (buffer[-192:] == 0xAA).all()
        np.testing.assert_array_equal(restored, codes.reshape(-1))


def test_reads_and_writes_at_the_very_end_of_a_page(isa, rng):
    for bits in BITS:
        for n in (1, 9, 64, 100, 513):
            codes = random_codes(rng, n, bits)
            width = -(-n * bits // 8)
            pages = [np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint8) for _ in range(2)]
            source, packed = pages[0][-codes.nbytes :].view(codes.dtype), pages[1][-width:]
            source[:] = codes
            _core.pack(source, n, bits, packed, 1)
            source[:] = 0
            _core.unpack(packed, n, bits, source, 1)
            np.testing.assert_array_equal(source, codes)


def test_the_core_refuses_what_would_touch_foreign_memory():
    codes, packed, radix = np.zeros((2, 40), np.uint8), np.zeros((2, 20), np.uint8), (3, 0, 5, 8)
    frozen = packed.copy()
    frozen.flags.writeable = False
    refused = [
        lambda: _core.pack(codes, 40, 0, packed, 1),
        lambda: _core.pack(codes, 40, 9, packed, 1),
        lambda: _core.pack(codes, 40, 2**32 - 1, packed, 1),
        lambda: _core.pack(codes.astype(np.uint16), 40, 17, packed, 1),
        lambda: _core.pack(codes, 40, 5, packed, 1),
        lambda: _core.pack(codes, 39, 4, packed, 1),
        lambda: _core.pack(codes, 0, 4, packed, 1),
        lambda: _core.pack(codes[:0], 40, 4, packed, 1),
        lambda: _core.pack(codes, 40, 4, packed.reshape(-1)[:-1], 1),
        lambda: _core.pack(codes, 40, 4, frozen, 1),
        lambda: _core.unpack(packed, 40, 5, codes, 1),
        lambda: _core.unpack(packed[:, :0].copy(), 40, 1, codes, 1),
        lambda: _core.pack_radix(codes, 40, *radix, packed[:, :7].copy(), 1),
        lambda: _core.pack_radix(codes, 40, 3, 0, 6, 8, packed, 1),
        lambda: _core.pack_radix(codes, 40, 3, 6, 5, 9, packed, 1),
        lambda: _core.pack_radix(codes, 40, 3, 0, 0, 8, packed, 1),
        lambda: _core.pack_radix(codes, 40, 1, 0, 1, 8, packed, 1),
        lambda: _core.pack_radix(codes, 40, 65535, 0, 64, 64, packed, 1),
        lambda: _core.unpack_radix(packed, 40, 2**32 - 1, 0, 1, 64, codes, 1),
        lambda: _core.unpack_radix(packed, 40, 2, 0, 64, 65, codes, 1),
    ]
    for call in refused:
        with pytest.raises(ValueError):
            call()
    for call in [
        lambda: _core.pack(codes.astype(np.int16), 40, 4, packed, 1),
        lambda: _core.pack(codes.T, 40, 4, packed, 1),
        lambda: _core.pack(codes, 40, 4, packed[:, ::2], 1),
        lambda: _core.unpack(packed.view(np.int8), 40, 4, codes, 1),
        lambda: _core.unpack_radix(packed, 40, *radix, codes.astype(">u2"), 1),
    ]:
        with pytest.raises(TypeError):
            call()
