import sys

import numpy as np
import pytest

import evenbits
from evenbits.bounds import democratic_level
from evenbits.embedding import Frame, level
from evenbits.products import linear
from evenbits.reference import embedding as reference

pytest.importorskip("scipy")


@pytest.mark.parametrize(("d", "redundancy"), [(1, 1), (3, 1), (10, 1.25), (100, 2), (700, 1.1)])
def test_frames_of_cosines_are_parseval_and_have_the_length_asked_for(d, redundancy):
    frame = Frame.of_redundancy(d, redundancy, seed=1, kind="dct")
    assert frame.n == int(np.ceil(redundancy * d - 1e-9))
    x = np.eye(d, dtype=np.float32)[: min(d, 50)]
    np.testing.assert_allclose(frame.synthesise(frame.analyse(x)), x, atol=3e-6)


@pytest.mark.parametrize("options", [{}, {"closing": False}, {"solver": "exact"}, {"solver": "exact", "iterations": 1}], ids=str)
def test_iterations_are_those_of_the_reference(options, rng, monkeypatch):
    """The reference is for Hadamard frames; here it is given the cosine transform in their place."""
    from scipy import fft

    def cosines(x, base, scale, before=None, after=None):
        # analysis has the signs before, synthesis after; of the exact solver without signs: C first, then its inverse
        if before is not None:
            return fft.dct(x * before, norm="ortho")
        if after is not None:
            return fft.idct(x, norm="ortho") * after
        calls.append(1)
        return fft.idct(x, norm="ortho") if len(calls) % 2 == 0 else fft.dct(x, norm="ortho")

    x = rng.standard_normal((1, 90)).astype(np.float32) ** 3
    frame, calls = Frame.of_redundancy(90, 1.5, 4, kind="dct"), []
    monkeypatch.setattr(reference, "hadamard_transform", cosines)
    a = evenbits.democratic_embedding(x, redundancy=1.5, seed=4, frame="dct", **{"iterations": 5, **options})
    if options.get("solver") == "exact":
        expected = reference.democratic(frame.spread(x), frame.base, frame.signs, options.get("iterations", 5))
    else:
        expected = reference.kashin(frame.spread(x), frame.base, frame.signs, 5, 0.5, 1.0, options.get("closing", True))
    np.testing.assert_allclose(a, expected, atol=3e-6 * np.linalg.norm(x))


@pytest.mark.parametrize("solver", ["kashin", "exact"])
@pytest.mark.parametrize("redundancy", [1, 1.1, 2])
def test_the_embedding_stands_for_the_vector(redundancy, solver, rng):
    x = rng.standard_normal((2, 3, 300)) ** 3
    a = evenbits.democratic_embedding(x, redundancy=redundancy, seed=2, frame="dct", solver=solver)
    assert a.dtype == np.float32
    back = evenbits.democratic_inverse(a, length=300, seed=2, frame="dct")
    np.testing.assert_allclose(back, x, atol=3e-6 * np.linalg.norm(x, axis=-1).max())


def test_levels_are_those_of_theory(rng):
    x = rng.standard_normal((3, 2000)) ** 3
    a = evenbits.democratic_embedding(x, redundancy=1.25, seed=0, frame="dct", solver="exact")
    assert level(a, x).mean() == pytest.approx(democratic_level(1.25), rel=0.03)
    a = evenbits.democratic_embedding(x, redundancy=1.25, seed=0, frame="dct")
    assert level(a, x).mean() == pytest.approx(2.35, rel=0.05)


@pytest.mark.parametrize("bits", [0.7, 1.5, 3])
@pytest.mark.parametrize("options", [{}, {"solver": "exact"}, {"rounding": "stochastic"}], ids=str)
def test_codes_in_a_frame_of_cosines_decode_by_their_spec_which_is_marked(bits, options, rng):
    x = rng.standard_normal((6, 500))
    e = evenbits.quantize(x, bits, "democratic", redundancy=1.1, frame="dct", **options)
    assert e.spec["portable"] is False
    assert e.spec["embedding"] == {"kind": "dct_frame", "length": 550}
    assert e.nbytes == evenbits.methods()["democratic"](bits, redundancy=1.1, frame="dct", **options).nbytes((6, 500), "float64")
    h = evenbits.quantize(x, bits, "democratic", redundancy=1.1, **options)
    assert e.error(x) == pytest.approx(h.error(x), rel=0.25)
    y = rng.standard_normal((2, 500)).astype(np.float32)
    np.testing.assert_allclose(linear(y, e), y @ e.decode().T.astype(np.float32), atol=1e-3)


def test_the_mark_can_not_be_left_out():
    spec = dict(evenbits.quantize(np.ones((2, 40)), 2, "democratic", frame="dct").spec)
    del spec["portable"]
    with pytest.raises(evenbits.EncodedError, match=r"spec\.portable is True; it must be false where there are cosine"):
        evenbits.spec.Spec.parse(spec)
    assert "portable" not in evenbits.quantize(np.ones((2, 40)), 2, "democratic").spec


def test_other_frames_are_refused():
    with pytest.raises(ValueError, match="frame is 'wavelet'; known are 'hadamard', 'dct'"):
        evenbits.democratic_embedding(np.ones(8), redundancy=2, seed=0, frame="wavelet")
    with pytest.raises(ValueError, match="frame is 'wavelet'"):
        evenbits.quantize(np.ones(8), 2, "democratic", frame="wavelet")


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModuleNotFoundError, match=r"evenbits\[scipy\]"):
        evenbits.democratic_embedding(np.ones(8), redundancy=2, seed=0, frame="dct")
