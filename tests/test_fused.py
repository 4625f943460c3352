import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import evenbits
from evenbits import Encoded, _chunks, _core, _fused, decode, quantize
from evenbits.matrices import base_matrix, hadamard_length
from evenbits.random import random_signs
from evenbits.spec import levels_of

LENGTHS = [1, 2, 3, 10, 64, 100, 384, 768, 1000, 1024, 4096]
GRIDS = ["lloyd_max", "uniform"]
FITS = ["least_squares", "unbiased", "range"]


def same(x, bits, monkeypatch, workers=1, **options):
    """Quantizes and decodes both ways, and asserts that the general one was only asked once told to."""
    fused = quantize(x, bits, workers=workers, **options)
    values = decode(fused, workers=workers)
    with monkeypatch.context() as patch:
        patch.setattr(_fused, "applies", lambda spec: False)
        general = quantize(x, bits, **options)
        assert fused.spec == general.spec
        for name, plane in general.planes.items():
            np.testing.assert_array_equal(fused.planes[name], plane)
        assert values.tobytes() == decode(general).tobytes()
    return fused


def rows_of_all_kinds(rng, d):
    """Ordinary rows of several laws; zeros and constants; rows that are huge, tiny, denormal, or of numbers far apart."""
    x = rng.standard_normal((24, d)).astype(np.float32)
    x[1], x[2], x[3], x[4] = 0, 1, -7.25, 0
    x[4, d // 2] = 3
    x[5] *= np.float32(2.0**70)
    x[6] *= np.float32(2.0**-80)
    x[7] *= np.float32(2.0**-130)
    x[8] = np.float32(1e-45)
    x[9] = np.float32(1e37) * np.sign(x[9])
    x[10] *= np.float32(2.0) ** rng.integers(-60, 50, d).astype(np.float32)
    x[11, ::2] *= np.float32(2.0**-140)
    x[12] = np.where(np.arange(d) % 3 == 0, np.float32(2.0**60), np.float32(-(2.0**-149)))
    x[13] = np.float32(2.0**-60)
    x[14] = np.nextafter(np.float32(2.0**-60), np.float32(0))
    x[15] = np.float32(2.0**60)
    x[16] = np.nextafter(np.float32(2.0**60), np.float32(np.inf))
    x[17] = -0.0
    x[18] = rng.integers(-2, 3, d)
    x[19] = x[19] ** 3
    return x


@pytest.mark.parametrize("levels", GRIDS)
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("d", LENGTHS)
def test_bytes_equal_those_of_the_general_way(isa, d, bits, levels, rng, monkeypatch):
    x = rng.standard_normal((5, d)).astype(np.float32)
    for fit in FITS:
        same(x, bits, monkeypatch, levels=levels, fit=fit, seed=bits, stream=d)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("d", [1, 3, 64, 100, 1000])
def test_rows_of_every_size_are_as_the_general_way_has_them(isa, d, bits, fit, rng, monkeypatch):
    x = rows_of_all_kinds(rng, d)
    monkeypatch.setattr(_chunks, "CHUNK", 3 * hadamard_length(d))
    same(x, bits, monkeypatch, fit=fit)
    for row in x:
        same(row, bits, monkeypatch, fit=fit)


@settings(max_examples=150)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 7, 20, 33])),
        elements=st.floats(-(2.0**120), 2.0**120, width=32),
    ),
    st.integers(1, 8),
    st.sampled_from(FITS),
    st.sampled_from(GRIDS),
    st.integers(0, 2**64 - 1),
)
def test_any_rows_at_all_give_the_same_bytes(x, bits, fit, levels, seed):
    with pytest.MonkeyPatch.context() as patch:
        same(x, bits, patch, fit=fit, levels=levels, seed=seed)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_and_chunks_do_not_change_the_bytes(isa, workers, rng, monkeypatch):
    x = rng.standard_normal((2003, 100)).astype(np.float32)
    x[50], x[120::700] = 0, x[120::700] * np.float32(2.0**90)
    monkeypatch.setattr(_chunks, "CHUNK", 30_000)
    for bits in (3, 8):
        same(x, bits, monkeypatch, workers=workers)


def test_instruction_sets_agree(rng):
    x, before, planes = rng.standard_normal((9, 384)).astype(np.float32), _core.isa(), set()
    try:
        for name in _core.available_isas():
            _core.use_isa(name)
            e = [quantize(x, bits, fit=fit) for bits in range(1, 9) for fit in FITS]
            planes.add(b"".join(i.planes["codes"].tobytes() + i.planes["scales"].tobytes() + decode(i).tobytes() for i in e))
    finally:
        _core.use_isa(before)
    assert len(planes) == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int16, ">f4"])
def test_other_dtypes_go_either_way_to_the_same_bytes(dtype, rng, monkeypatch):
    x = (rng.standard_normal((6, 100)) * 50).astype(dtype)
    same(x, 3, monkeypatch)
    same(np.asfortranarray(x), 3, monkeypatch)


@pytest.mark.parametrize("options", [{"levels": "uniform", "range": "absmax"}, {"rounding": "stochastic"}])
def test_decoding_is_the_same_for_other_grids(options, isa, rng, monkeypatch):
    for bits in (1, 4, 8):
        same(rng.standard_normal((7, 100)).astype(np.float32), bits, monkeypatch, **options)


def test_negative_numbers_that_vanish_against_the_scale_have_the_code_of_zero(isa, monkeypatch):
    large, small = 2.0**60, 2.0**-140
    x = np.float32([large, -large, small, 0]) * random_signs(0, 0, 4)
    np.testing.assert_array_equal(np.sign(evenbits.randomized_hadamard(x, seed=0)), [1, 1, -1, 1])
    e = same(x, 1, monkeypatch)
    np.testing.assert_array_equal(evenbits.unpack(e.planes["codes"], 1, 4), [[1, 1, 1, 1]])


def test_applies_to_the_main_method_only():
    def applies(bits=4, shape=(3, 100), **options):
        return _fused.applies(evenbits.quantizers.NearDemocratic(bits, **options).spec(shape))

    assert all(applies(bits) for bits in range(1, 9))
    assert not any(applies(bits) for bits in (0.5, 2.5, 9))
    assert not applies(rounds=2)
    assert not applies(scale_dtype="float16")
    assert not _fused.applies(evenbits.quantizers.LloydMax(4).spec((3, 100)))
    assert not _fused.applies(evenbits.quantizers.Democratic(4).spec((3, 100)))


def test_scales_of_any_size_and_sign_decode_as_the_general_way_has_them(isa, rng, monkeypatch):
    e = quantize(rng.standard_normal((12, 100)).astype(np.float32), 4)
    scales = np.float32([1, -1, 0, 2.0**60, -(2.0**60), 2.0**61, 2.0**-60, 2.0**-61, 1e-45, 3.4e38, -3.4e38, 5])
    changed = Encoded({**e.planes, "scales": scales[:, None]}, e.spec)
    values = decode(changed)
    monkeypatch.setattr(_fused, "applies", lambda spec: False)
    assert values.tobytes() == decode(changed).tobytes()


@pytest.mark.parametrize("index", [(0, 0), (3, 99), (40, 7)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(isa, index, bad, rng, monkeypatch):
    monkeypatch.setattr(_chunks, "CHUNK", 1000)
    x = rng.standard_normal((41, 100)).astype(np.float32)
    x[index] = bad
    for bits in (1, 4, 8):
        with pytest.raises(ValueError, match=rf"x\[{index[0]}, {index[1]}\] is {bad}"):
            quantize(x, bits)
    with pytest.raises(ValueError, match=rf"x\[{index[0]}, 0, {index[1]}\]"):
        quantize(x[:, None], 4, workers=3)


def test_planes_that_are_not_aligned_decode(rng):
    e = quantize(rng.standard_normal((5, 100)).astype(np.float32), 4)
    raw = np.zeros(e.planes["scales"].nbytes + 1, np.uint8)
    raw[1:] = e.planes["scales"].view(np.uint8).ravel()
    shifted = Encoded({**e.planes, "scales": raw[1:].view(np.float32).reshape(5, 1)}, e.spec)
    np.testing.assert_array_equal(decode(shifted), decode(e))


WRONG = [
    {"x": np.ones((3, 65), np.float32)},
    {"x": np.ones((3, 50))},
    {"x": np.ones((4, 50), np.float32)},
    {"x": np.ones((3, 0), np.float32)},
    {"x": np.ones((50, 3), np.float32).T},
    {"signs": np.ones(63, np.float32)},
    {"signs": np.ones(60, np.float32)},
    {"signs": np.ones(0, np.float32)},
    {"levels": np.ones(16, np.float32)},
    {"bits": 0},
    {"bits": 9},
    {"packed": np.zeros((3, 31), np.uint8)},
    {"packed": np.zeros(97, np.uint8)},
    {"packed": np.zeros((3, 32), np.int8)},
    {"scales": np.zeros(2, np.float32)},
    {"scales": np.zeros(3)},
    {"base": np.ones((2, 2), np.int8)},
]


class TestMemory:
    """_core itself refuses what would reach beyond an array."""

    def arguments(self, n=64, d=50, rows=3, bits=4):
        levels = np.zeros(256, np.float32)
        levels[: 1 << bits] = levels_of("lloyd_max_gaussian", 1 << bits, 1 << bits)
        return {
            "x": np.ones((rows, d), np.float32),
            "base": base_matrix(1),
            "signs": np.ones(n, np.float32),
            "scale": n**-0.5,
            "levels": levels,
            "thresholds": evenbits.codebooks.thresholds(levels[: 1 << bits]),
            "bits": bits,
            "fit": 1,
            "packed": np.zeros((rows, n * bits // 8), np.uint8),
            "scales": np.zeros(rows, np.float32),
            "workers": 2,
        }

    @pytest.mark.parametrize("wrong", WRONG, ids=lambda w: next(f"{k}-{getattr(v, 'shape', v)}" for k, v in w.items()))
    def test_refuses(self, wrong):
        right = self.arguments()
        assert _core.encode_rotated(**right) == []
        with pytest.raises((ValueError, TypeError)):
            _core.encode_rotated(**{**right, **wrong})
        decoding = {k: v for k, v in right.items() if k not in ("thresholds", "fit")}
        assert _core.decode_rotated(**decoding) == []
        with pytest.raises((ValueError, TypeError)):
            _core.decode_rotated(**{**decoding, **wrong})

    @pytest.mark.parametrize("fit", [-1, 3])
    def test_refuses_an_unknown_fit(self, fit):
        with pytest.raises(ValueError, match="fit"):
            _core.encode_rotated(**{**self.arguments(), "fit": fit})

    def test_refuses_wrong_thresholds_and_what_it_can_not_write(self):
        right = self.arguments()
        with pytest.raises(ValueError, match="thresholds"):
            _core.encode_rotated(**{**right, "thresholds": np.zeros(14, np.float32)})
        for name in ("packed", "scales"):
            frozen = right[name].copy()
            frozen.flags.writeable = False
            with pytest.raises(ValueError, match="writeable"):
                _core.encode_rotated(**{**right, name: frozen})

    @pytest.mark.parametrize("bits", range(1, 9))
    @pytest.mark.parametrize("d", [1, 2, 5, 12, 20, 100, 384])
    def test_writes_nothing_beyond_the_last_row(self, isa, d, bits, rng):
        n = hadamard_length(d)
        spec = evenbits.quantizers.NearDemocratic(bits).spec((3, d))
        rotated = _fused.Rotated(spec, levels_of(spec.grid, 1 << bits, 1 << bits))
        used = (n * bits + 7) // 8
        packed, x = np.full(3 * used + 64, 0xA5, np.uint8), rng.standard_normal((3, d)).astype(np.float32)
        scales = np.full(3 + 16, 7, np.float32)
        assert rotated.encode(x, "least_squares", packed[: 3 * used], scales[:3], 1) == []
        assert (packed[3 * used :] == 0xA5).all()
        assert (scales[3:] == 7).all()
        np.testing.assert_array_equal(packed[: 3 * used].reshape(3, used), quantize(x, bits).planes["codes"][:, :used])
        out = np.full(3 * d + 16, 7, np.float32)
        assert rotated.decode(packed[: 3 * used].copy(), scales[:3], out[: 3 * d].reshape(3, d), 1) == []
        assert (out[3 * d :] == 7).all()
