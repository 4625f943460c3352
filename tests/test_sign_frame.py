import numpy as np
import pytest

import evenbits
from evenbits import _core, decode, quantize
from evenbits.embedding import Frame
from evenbits.joint import sign_frame
from evenbits.quantizers import SignFrame
from evenbits.reference import joint as reference


def nmse(x, encoded):
    x = np.asarray(x, np.float64)
    return float(np.mean(((x - decode(encoded)) ** 2).sum(-1) / (x**2).sum(-1)))


@pytest.mark.parametrize(
    ("d", "n", "kept"), [(1, 1, 1), (3, 4, 3), (10, 16, 13), (64, 128, 128), (100, 160, 150), (700, 768, 768)]
)
def test_the_kernel_equals_the_reference_bit_for_bit(isa, d, n, kept, rng):
    frame = Frame(d, n, 4)
    x = rng.standard_normal((3, d)).astype(np.float32) ** 3
    x[1] = 0
    box = (rng.permutation(n) < kept).astype(np.float32)
    wide, out = frame.spread(x), np.empty((3, n), np.float32)
    arguments = frame.base, frame.signs, box, 7, 1.3 / np.sqrt(n), 0.95, 0.9 * d / n
    _core.sign_frame(wide, out, *arguments, 1)
    np.testing.assert_array_equal(out, reference.sign_frame(wide, *arguments))
    _core.sign_frame(wide, wide, *arguments, 2)
    np.testing.assert_array_equal(wide, out)


@pytest.mark.parametrize("change", ["x", "out", "box", "signs"])
def test_the_kernel_refuses_memory_that_does_not_fit(change):
    arrays = {name: np.zeros(16, np.float32) for name in ("x", "out", "signs", "box")}
    base = np.ones((1, 1), np.int8)
    for wrong in (np.zeros(15, np.float32), np.zeros(16), np.zeros(32, np.float32)[::2]):
        given = {**arrays, change: wrong}
        with pytest.raises((ValueError, TypeError)):
            _core.sign_frame(given["x"], given["out"], base, given["signs"], given["box"], 1, 1.0, 0.9, 0.5, 1)


def test_coefficients_that_are_not_kept_are_zero_and_the_others_in_the_box(rng):
    frame, kept = Frame(100, 160, 1), np.arange(0, 160, 2)
    a = sign_frame(frame, rng.standard_normal((4, 100)).astype(np.float32), 20, kept=kept)
    assert not a[:, 1::2].any()
    peak = np.abs(a).max(axis=1, keepdims=True)
    assert (np.abs(a[:, kept]) == peak).mean() > 0.8


@pytest.mark.parametrize(
    ("bits", "expected"), [(1, 0.3634), (1.25, 0.235), (1.5, 0.155), (1.75, 0.109), (2, 0.0778), (2.5, 0.046), (3, 0.0305)]
)
@pytest.mark.parametrize("law", ["gaussian", "student"])
def test_the_error_is_the_measured_one_on_every_law(law, bits, expected):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((10, 4096)) if law == "gaussian" else rng.standard_t(2, (10, 4096))
    assert 0.9 * expected < nmse(x, quantize(x, bits, "sign_frame")) < 1.03 * expected


@pytest.mark.parametrize("bits", [1.25, 1.5, 2, 2.5, 3])
def test_below_three_bits_it_beats_every_scalar_code_of_the_same_size(bits, rng):
    x = rng.standard_normal((10, 2048))
    joint, scalar = (quantize(x, bits, method) for method in ("sign_frame", "near_democratic"))
    assert joint.nbytes <= scalar.nbytes
    assert nmse(x, joint) < 0.92 * nmse(x, scalar)


@pytest.mark.parametrize("bits", [0.5, 1, 1.4, 2])
def test_the_encoders_own_scale_is_near_the_one_of_least_error(bits, rng):
    x = rng.standard_normal((8, 1000))
    fitted, own = (quantize(x, bits, "sign_frame", fit=f) for f in ("least_squares", "range"))
    np.testing.assert_array_equal(fitted.planes["codes"], own.planes["codes"])
    assert fitted.error(x) < own.error(x) < 1.03 * fitted.error(x)


def test_more_iterations_lower_the_error(rng):
    x = rng.standard_normal((10, 1024))
    errors = [nmse(x, quantize(x, 2, "sign_frame", iterations=i)) for i in (1, 8, 32, 128)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("d", [96, 100, 1000])
@pytest.mark.parametrize("bits", [0.3, 1, 1.01, 1.37, 2, 2.71])
def test_a_row_takes_as_many_bits_as_asked_for(d, bits):
    e = quantize(np.ones((1, d)), bits, "sign_frame")
    spec = e.spec
    assert spec.get("kept", spec["embedding"]["length"]) == int(round(bits * 100) * d // 100)


@pytest.mark.parametrize(("d", "bits"), [(1, 1.3), (3, 1.5), (10, 1.25), (1000, 1.0245), (4096, 2.00021)])
def test_no_code_has_more_than_one_bit(d, bits):
    spec = SignFrame(bits).spec((2, d))
    assert (spec.codes.levels, spec.codes.upper, spec.kept) == (2, 0, int(bits * d))


def test_it_is_a_code_of_a_democratic_frame_to_a_reader(rng):
    """No reader needs to know the method: frame, one-bit codes, a scale a row."""
    e = quantize(rng.standard_normal((3, 100)), 2, "sign_frame", seed=5)
    level = np.float32(evenbits.lloyd_max(2)[1])
    signs = np.unpackbits(e.planes["codes"], axis=1, bitorder="little", count=200) * np.float32(2) - np.float32(1)
    a = np.zeros((3, e.spec["embedding"]["length"]), np.float32)
    a[:, evenbits.random.random_subset(5, 1 << 62, a.shape[1], 200) if a.shape[1] > 200 else slice(None)] = signs
    back = evenbits.democratic_inverse(a * level * e.planes["scales"], length=100, seed=5)
    np.testing.assert_allclose(back, decode(e), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"), [({"iterations": 0}, "iterations is 0"), ({"fit": "unbiased"}, "fit is 'unbiased'; known are")]
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SignFrame(2, **options)
