import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from evenbits import _core
from evenbits.random import random_bits, random_signs, random_subset, uniform
from evenbits.reference import random as reference

LARGEST = 2**64 - 1


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_reference_gives_the_known_answers_of_random123(counter, key, block):
    words = [np.array([int(word, 16) for word in text.split()], np.uint32) for text in (counter, key, block)]
    np.testing.assert_array_equal(reference.philox(words[0][None], words[1])[0], words[2])


def test_words_give_the_known_answer(isa):
    assert random_bits(0, 0, 4, bits=32).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("first", [0, 1, 2, 3, 5, 2**34 - 7, 2**34 - 512, 2**63 + 1])
def test_words_equal_the_reference_bit_for_bit(isa, count, first):
    for seed, stream in [(0, 0), (1, 2), (0x0123456789ABCDEF, 0xFEDCBA9876543210), (LARGEST, LARGEST)]:
        np.testing.assert_array_equal(
            random_bits(seed, stream, count, bits=32, first=first),
            reference.random_words(seed, stream, count, first=first),
        )
        np.testing.assert_array_equal(
            random_bits(seed, stream, count, first=first), reference.half_words(seed, stream, count, first=first)
        )


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([16, 32]))
def test_a_stretch_is_a_slice_of_the_stream(first, count, bits):
    whole = random_bits(7, 8, 1000, bits=bits)
    np.testing.assert_array_equal(random_bits(7, 8, count, bits=bits, first=first), whole[first : first + count])


def test_a_stream_ends_at_two_to_the_64():
    np.testing.assert_array_equal(
        random_bits(1, 2, 3, first=2**64 - 3), reference.half_words(1, 2, 3, first=2**64 - 3)
    )
    with pytest.raises(ValueError, match=f"first is {2**64 - 2}; it must be from 0 to {2**64 - 3}"):
        random_bits(1, 2, 3, first=2**64 - 2)


def test_a_words_low_half_comes_before_its_high_half():
    words = random_bits(3, 4, 50, bits=32)
    np.testing.assert_array_equal(random_bits(3, 4, 100), np.stack([words & 0xFFFF, words >> 16], axis=-1).reshape(-1))


def test_kernels_write_nothing_beyond_the_words_they_are_asked_for(isa):
    for count in range(80):
        out = np.zeros(count + 20, np.uint32)
        _core.random_words(1, 2, 3, out[:count])
        assert not out[count:].any()


def test_seeds_and_streams_give_other_bits():
    bits = {random_bits(seed, stream, 8).tobytes() for seed in range(20) for stream in range(20)}
    assert len(bits) == 400


def test_half_words_are_spread_evenly():
    counts = np.bincount(random_bits(0, 0, 1 << 20) >> 8, minlength=256)
    expected = (1 << 20) / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - 255) < 5 * np.sqrt(2 * 255)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, ">f4"])
def test_signs_are_minus_one_where_the_highest_bit_is_set(dtype):
    signs = random_signs(1, 2, 1000, first=5, dtype=dtype)
    assert signs.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(signs == -1, random_bits(1, 2, 1000, first=5) >= 0x8000)
    np.testing.assert_array_equal(np.abs(signs), 1)


@pytest.mark.parametrize("dtype", [bool, np.uint8, str])
def test_signs_refuse_types_without_minus_one(dtype):
    with pytest.raises(TypeError, match="has no -1"):
        random_signs(0, 0, 3, dtype=dtype)


def test_uniform_numbers_are_the_upper_24_bits_of_words():
    u = uniform(1, 2, 1 << 18, first=3)
    assert u.dtype == np.float32
    np.testing.assert_array_equal(u.astype(np.float64) * 2**24, random_bits(1, 2, 1 << 18, bits=32, first=3) >> 8)
    assert u.max() < 1
    assert abs(float(u.mean(dtype=np.float64)) - 0.5) < 5 / np.sqrt(12 * u.size)


@pytest.mark.parametrize(("n", "count"), [(0, 0), (1, 0), (1, 1), (10, 3), (100, 100), (1000, 1), (5000, 2500)])
def test_subsets_equal_the_reference(n, count):
    chosen = random_subset(1, 2, n, count)
    assert chosen.dtype == np.uint32
    np.testing.assert_array_equal(chosen, reference.random_subset(1, 2, n, count))


def test_of_equal_words_a_subset_takes_the_first(monkeypatch):
    words = np.array([5, 3, 5, 5, 9, 3], np.uint32)
    monkeypatch.setattr("evenbits.random._words", lambda *_: words)
    assert [random_subset(0, 0, 6, k).tolist() for k in (1, 3, 4, 6)] == [[1], [0, 1, 5], [0, 1, 2, 5], list(range(6))]


@settings(max_examples=30)
@given(st.integers(0, LARGEST), st.integers(1, 40), st.data())
def test_subsets_ascend_without_repeats(seed, n, data):
    count = data.draw(st.integers(0, n))
    chosen = random_subset(seed, 0, n, count).astype(int)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert ((chosen >= 0) & (chosen < n)).all()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((-1, 0, 1), {}, ValueError, "seed is -1; it must be from 0"),
        ((0, 2**64, 1), {}, ValueError, f"stream is {2**64}"),
        ((0.5, 0, 1), {}, TypeError, "seed is 0.5; it must be an integer"),
        ((0, 0, -3), {}, ValueError, "count is -3"),
        ((0, 0, 3), {"bits": 8}, ValueError, "bits is 8; it must be 16 or 32"),
        ((0, 0, 3), {"first": -1}, ValueError, "first is -1"),
    ],
)
def test_errors_name_the_argument(arguments, options, error, message):
    with pytest.raises(error, match=message):
        random_bits(*arguments, **options)


def test_a_subset_is_at_most_the_whole():
    with pytest.raises(ValueError, match="count is 4; it must be from 0 to 3"):
        random_subset(0, 0, 3, 4)


@pytest.mark.parametrize("out", [np.zeros(4, np.int32), np.zeros(8, np.uint32)[::2], np.zeros(4, ">u4")])
def test_the_core_refuses_other_memory(out):
    with pytest.raises(TypeError, match="out must be an aligned C-contiguous array of uint32"):
        _core.random_words(0, 0, 0, out)


def test_the_core_refuses_read_only_memory():
    out = np.zeros(4, np.uint32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.random_words(0, 0, 0, out)
