import numpy as np
import pytest

import evenbits
from evenbits.codings.windows import digits_of, places, possible_counts, window_table
from evenbits.quantizers import Sparq
from evenbits.quantizers.sparq import activation_scale
from evenbits.reference.windows import window

FORMATS = [(4, 5), (4, 3), (4, 2), (3, 6), (2, 7), (6, 3)]


@pytest.mark.parametrize("rounding", ["trim", "nearest"])
@pytest.mark.parametrize(("bits", "count"), FORMATS)
def test_every_byte_is_what_the_masks_leave(isa, bits, count, rounding):
    expected = [window(a, bits, places(bits, count), rounding == "nearest") for a in range(256)]
    np.testing.assert_array_equal(Sparq(bits, count, rounding=rounding).apply(np.arange(256, dtype=np.uint8)), expected)


def test_documented_values():
    x = np.array([27, 33, 31, 255, 15], np.uint8)
    np.testing.assert_array_equal(Sparq(rounding="trim").apply(x), [26, 32, 30, 240, 15])
    np.testing.assert_array_equal(Sparq().apply(x), [28, 32, 30, 240, 15])
    every = np.arange(1, 256, dtype=np.uint8)
    for rounding, worst in (("trim", 0.1049), ("nearest", 0.0588)):
        left = Sparq(rounding=rounding).apply(every).astype(float)
        assert np.max(np.abs(every - left) / every) == pytest.approx(worst, abs=5e-5)


def pairs_of(x, bits, count, rounds):
    wide = window_table(2 * bits, 9 - 2 * bits, rounds)
    narrow = window_table(bits, count, rounds)
    y = x.copy()
    for row, out in zip(x, y, strict=True):
        for j, a in enumerate(row):
            partner = row[j ^ 1] if j ^ 1 < len(row) else 0
            out[j] = wide[a] if partner == 0 else narrow[a]
    return y


@pytest.mark.parametrize("rounding", ["trim", "nearest"])
@pytest.mark.parametrize(("bits", "count"), FORMATS[:5])
@pytest.mark.parametrize("k", [1, 6, 77])
def test_the_neighbour_of_a_zero_keeps_twice_the_bits(isa, rng, bits, count, rounding, k):
    x = rng.integers(0, 256, (5, k)).astype(np.uint8)
    x[rng.random(x.shape) < 0.4] = 0
    sparq = Sparq(bits, count, rounding=rounding, pairs=True)
    left = pairs_of(x, bits, count, rounding == "nearest")
    np.testing.assert_array_equal(sparq.apply(x, workers=2), left)
    np.testing.assert_array_equal(sparq.encode(x).decode(), left)


@pytest.mark.parametrize("pairs", [False, True])
def test_codes_take_no_more_bits_than_there_are_values(rng, pairs, tmp_path):
    x = rng.integers(0, 256, (64, 1024)).astype(np.uint8)
    for bits, count in FORMATS[:5]:
        sparq = Sparq(bits, count, pairs=pairs)
        encoded = sparq.encode(x)
        levels = len(digits_of(bits, count)[3]) ** 0.5 if pairs else len(encoded._meaning.levels)
        assert np.log2(levels) <= encoded.bits_per_value < np.log2(levels) + 0.08
        assert encoded.bits_per_value < sparq.cost + 0.03
        evenbits.save(tmp_path / "x", {"x": encoded})
        np.testing.assert_array_equal(evenbits.load(tmp_path / "x")["x"].decode(), sparq.apply(x))


def test_products_are_as_accurate_as_published_formulas_say():
    rng = np.random.default_rng(0)
    h = np.maximum(rng.standard_normal((256, 512)), 0)
    a = np.clip(np.round(h / activation_scale(h)), 0, 255).astype(np.uint8)
    w = rng.integers(-127, 128, (512, 64)).astype(np.int8)
    expected = {
        (4, 5, "trim", False): 0.0468, (4, 5, "nearest", False): 0.0288, (4, 5, "nearest", True): 0.0199,
        (4, 3, "nearest", False): 0.0387, (4, 3, "nearest", True): 0.0273, (4, 2, "nearest", True): 0.0364,
        (3, 6, "nearest", False): 0.0600, (3, 6, "nearest", True): 0.0423, (2, 7, "nearest", True): 0.095,
    }  # fmt: skip
    for (bits, count, rounding, pairs), error in expected.items():
        assert Sparq(bits, count, rounding=rounding, pairs=pairs).product_error(a, w) == pytest.approx(error, rel=0.02)


def test_floats_are_rounded_to_bytes_first(rng):
    x = np.abs(rng.standard_normal((3, 4, 10))).astype(np.float16)
    encoded = Sparq(6, 3, pairs=False).encode(x)
    assert encoded.dtype == "float16" and encoded.decode().shape == x.shape
    assert encoded.error(x) < 0.02
    np.testing.assert_array_equal(Sparq(8, 1, scale=0.5).encode([0.2, 0.3, 200.0]).decode(), [0, 0.5, 127.5])
    for empty in (np.zeros((0, 3)), np.zeros((3, 0), np.uint8)):
        assert Sparq(pairs=True).encode(empty).decode().shape == empty.shape


def test_the_smallest_and_greatest_floats_have_scales():
    for size in (1e-45, 1e-38, 3.4028235e38):
        x = np.array([0, size], np.float32)
        y = Sparq(8, 1).encode(x).decode()
        assert np.isfinite(y).all() and y[0] == 0 and y[1] == pytest.approx(size if size > 1e-44 else 0, rel=0.002)
    assert activation_scale(np.zeros((2, 3))) == activation_scale(-np.ones(4)) == 1
    assert activation_scale(np.float32(255)) == activation_scale([[0, 510], [-1, 0]]) == 1


def test_wrong_arguments_are_named():
    for make, message in (
        (lambda: Sparq(4, 4), "windows of 4 bits take 2, 3, 5"),
        (lambda: Sparq(6, 3, pairs=True), "at most 8"),
        (lambda: Sparq(rounding="up"), "rounding is 'up'"),
        (lambda: Sparq().encode([1.0, -2.0]), r"x\[1\] is -2.0; windows are for what is not negative"),
        (lambda: Sparq().product(np.zeros((2, 3), np.uint8), np.zeros((3, 2))), "int8"),
        (lambda: activation_scale(np.zeros((0, 3))), "empty"),
        (lambda: evenbits.quantize(np.ones(8), 4, "sparq"), "activations"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="uint8"):
        Sparq().apply(np.zeros(3))
    assert possible_counts(8) == [1] and possible_counts(2) == [2, 3, 4, 7]
    encoded = Sparq().encode(np.arange(8, dtype=np.uint8))
    with pytest.raises(evenbits.EncodedError, match=r"spec\.window"):
        evenbits.decode(evenbits.Encoded(encoded.planes, encoded.spec | {"window": [4, 4]}))
