import numpy as np
import pytest

import evenbits
from evenbits import Encoded, EncodedError, decode, quantize
from evenbits.spec import canonical_json


@pytest.fixture
def encoded(rng):
    return quantize(rng.standard_normal((4, 48)), 3, "uniform", range="min_max", per=16)


def test_bytes_are_those_of_all_planes_and_the_spec(encoded):
    planes = sum(p.nbytes for p in encoded.planes.values())
    assert encoded.nbytes == planes + len(canonical_json(encoded.spec))
    assert encoded.bits_per_value == 8 * encoded.nbytes / (4 * 48)
    assert set(encoded.planes) == {"codes", "scales", "zeros"}


def test_says_what_it_is(encoded):
    assert (encoded.method, encoded.shape, encoded.dtype) == ("uniform", (4, 48), "float64")
    assert "planes" in repr(encoded)


def test_error_is_the_relative_distance(rng):
    x = rng.standard_normal((4, 48))
    e = quantize(x, 2)
    assert e.error(x) == pytest.approx(np.linalg.norm(x - decode(e)) / np.linalg.norm(x), rel=1e-12)
    assert quantize(np.zeros(8), 2).error(np.zeros(8)) == 0
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        e.error(np.zeros(3))


def test_planes_that_do_not_fit_are_named(encoded):
    planes = encoded.planes
    for change, message in [
        ({"codes": planes["codes"][:3]}, "plane 'codes' is uint8"),
        ({"codes": planes["codes"].astype(np.int8)}, "plane 'codes' is int8"),
        ({"codes": planes["codes"].tolist()}, "plane 'codes' is list"),
        ({"scales": None}, "plane 'scales' is missing"),
        ({"zeros": planes["zeros"].astype(np.float32)}, "plane 'zeros' is float32"),
        ({"more": planes["zeros"]}, "plane 'more' is unknown"),
        ({"scales": np.full_like(planes["scales"], np.nan)}, "plane 'scales' holds a number that is not finite"),
    ]:
        with pytest.raises(EncodedError, match=message):
            decode(Encoded({**planes, **change}, encoded.spec))


def test_decoding_needs_planes_and_spec_alone(rng):
    x = rng.standard_normal((5, 100)).astype(np.float32)
    for name in evenbits.methods():
        e = quantize(x, 2.5, name, seed=8)
        copy = Encoded({k: np.array(v) for k, v in e.planes.items()}, __import__("json").loads(canonical_json(e.spec)))
        np.testing.assert_array_equal(decode(copy), decode(e))


@pytest.mark.parametrize("name", [name for name, kind in evenbits.methods().items() if kind.fixed])
def test_any_code_bytes_decode_to_finite_numbers(name, rng):
    for bits in (0.5, 1, 2.3, 4):
        e = quantize(rng.standard_normal((5, 100)), bits, name)
        planes = dict(e.planes, codes=rng.integers(0, 256, e.planes["codes"].shape, dtype=np.uint8))
        assert np.isfinite(decode(Encoded(planes, e.spec))).all()


def test_refuses_what_is_not_encoded():
    with pytest.raises(TypeError, match="encoded is a ndarray"):
        decode(np.zeros(3))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_number_of_workers_decodes_the_same(workers, rng):
    x = rng.standard_normal((3000, 256)).astype(np.float32)
    e = quantize(x, 3)
    assert decode(e, workers=workers).tobytes() == decode(e).tobytes()


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2, 3, 100)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_decode_fills_an_array_that_is_given(shape, dtype, rng):
    e = quantize(np.asarray(rng.standard_normal(shape), dtype), 4)
    out = np.empty(shape, dtype)
    assert e.decode(out=out) is out
    np.testing.assert_array_equal(out, decode(e))


def test_decode_refuses_an_array_that_does_not_fit(rng):
    e = quantize(rng.standard_normal((3, 8)).astype(np.float32), 4)
    with pytest.raises(ValueError, match=r"out is float64\(3, 8\); it must be float32\(3, 8\)"):
        decode(e, out=np.empty((3, 8)))
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        decode(e, out=np.empty((8, 3), np.float32).T)
    with pytest.raises(TypeError, match="out is a list"):
        decode(e, out=[0.0])
