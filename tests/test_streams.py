import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits import Encoded, EncodedError, _core, decode, quantize
from evenbits.quantizers import DeadZone, MagnitudePruning, Pruning, Residual, Sparq
from evenbits.reference import streams as reference

U8 = np.uint8


def levels_of(rng, scale, rows, n):
    return np.clip(np.round(rng.laplace(size=(rows, n)) * scale), -32767, 32767).astype(np.int16)


def encoded(levels, capacity=None):
    out = np.zeros(8 * levels.size + 64 if capacity is None else capacity, U8)
    size = _core.encode_levels(levels, levels.shape[1], out)
    return size, out[:size]


@pytest.mark.parametrize("scale", [0.3, 2, 40, 9000])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 40), (30, 3)])
def test_streams_of_levels_are_the_references(isa, scale, shape, rng):
    levels = levels_of(rng, scale, *shape)
    size, stream = encoded(levels)
    assert stream.tobytes() == reference.encode_levels(levels)
    back = np.zeros_like(levels)
    assert _core.decode_levels(stream, shape[1], back) == levels.size
    np.testing.assert_array_equal(back, levels)
    for cut in range(0, size, max(1, size // 40)):
        count = _core.decode_levels(stream[:cut].copy(), shape[1], back)
        found = reference.decode_levels(stream[:cut].tobytes(), *shape)
        assert count == len(found) < levels.size
        np.testing.assert_array_equal(levels.reshape(-1)[:count], found)
        assert encoded(levels, cut)[0] == cut + 1
    assert encoded(levels, size)[0] == size
    assert _core.decode_levels(np.append(stream, np.zeros(9, U8)), shape[1], back) == levels.size + 1


def test_levels_take_little_more_than_their_entropy(rng):
    for scale in (0.3, 1, 3):
        levels = levels_of(rng, scale, 100, 500)
        p = np.unique(levels, return_counts=True)[1] / levels.size
        assert 8 * encoded(levels)[0] / levels.size < 1.01 * -(p * np.log2(p)).sum() + 0.005


def refined(w, passes, share=0.1, least=0.1, capacity=None, most=None, decay=None):
    count, total = max(np.count_nonzero(w), 1), float(np.abs(w).astype(np.float64).sum())
    level = np.log(1 / share)
    decay = max(1 - level / count, 0.5) if decay is None else decay
    y, out = np.empty_like(w), np.zeros(8 * w.size + 400 if capacity is None else capacity, U8)
    plan = {"count": count, "order": max(int(share * count), 1), "most": len(w) if most is None else most, "total": total}
    plan |= {"least": least * total, "level": level, "slack": 1.0, "first": level * total / count}
    plan["smallest"] = max(2.0**-20 * total / count, 2.0**-126)
    size, events, nonzeros, left = _core.refine_encode(w, y, out, passes, decay, **plan)
    return out[:size], events, nonzeros, left, y, decay, plan


def weights(rng, n, kind):
    w = rng.laplace(size=n).astype(np.float32)
    return {"laplacian": w, "sparse": np.where(rng.random(n) < 0.5, 0, w).astype(np.float32), "signs": np.sign(w)}[kind]


@pytest.mark.parametrize("passes", [False, True])
@pytest.mark.parametrize("kind", ["laplacian", "sparse", "signs"])
@pytest.mark.parametrize("n", [1, 2, 64, 65, 300])
def test_every_prefix_of_a_refinement_is_a_state_of_its_encoder(isa, passes, kind, n, rng):
    w = weights(rng, n, kind)
    stream, events, nonzeros, left, y, decay, _ = refined(w, passes)
    states = [np.zeros(n, np.float32), *reference.refined(stream.tobytes(), n, passes, decay, events)]
    assert len(states) == events + 1 and nonzeros == np.count_nonzero(y)
    np.testing.assert_array_equal(states[-1], y)
    assert left == pytest.approx(float((np.abs(w) - np.abs(y)).astype(np.float64).sum()), rel=1e-4, abs=1e-5)
    known, back = 0, np.empty_like(w)
    for cut in range(len(stream) + 1):
        found = _core.refine_decode(stream[:cut].copy(), back, passes, decay, events)
        assert known <= found <= events
        known = found
        np.testing.assert_array_equal(back, states[found])
        assert (np.abs(back) <= np.abs(w)).all() and (back * w >= 0).all()
    assert known == events


@pytest.mark.parametrize("passes", [False, True])
def test_a_refinement_that_fills_its_capacity_decodes_to_a_state_of_its_encoder(isa, passes, rng):
    w = weights(rng, 300, "laplacian")
    whole, events, *_, decay, _ = refined(w, passes)
    states = [np.zeros(300, np.float32), *reference.refined(whole.tobytes(), 300, passes, decay, events)]
    back = np.empty_like(w)
    for capacity in range(0, len(whole), 3):
        stream = refined(w, passes, capacity=capacity)[0]
        assert len(stream) <= capacity
        np.testing.assert_array_equal(states[_core.refine_decode(stream, back, passes, decay, events)], back)


def test_the_encoder_one_weight_at_a_time_is_the_references(isa, rng):
    for n in (64, 300):
        w = weights(rng, n, "laplacian")
        _, events, _, _, y, decay, plan = refined(w, False)
        found, expected = reference.refine(w, decay, plan["order"], plan["first"], plan["least"])
        assert found == events
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("passes", [False, True])
def test_no_more_weights_than_allowed_are_refined(passes, rng):
    w = weights(rng, 300, "laplacian")
    for most in (0, 1, 17, 299):
        assert refined(w, passes, least=0, most=most)[2] == most


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(1, 40), st.booleans(), st.floats(0.01, 1), st.integers(0, 2**48))
def test_any_bytes_decode_to_something_or_are_refused(data, n, passes, decay, events):
    stream, back = np.frombuffer(data, U8), np.empty(n, np.float32)
    found = _core.refine_decode(stream, back, passes, decay, events)
    assert np.isfinite(back).all() and (found is None or found <= events)
    levels = np.zeros((2, n), np.int16)
    assert 0 <= _core.decode_levels(stream, n, levels) <= 2 * n + 1


def test_the_extension_refuses_what_could_touch_foreign_memory():
    w, y, out, levels = np.ones(4, np.float32), np.ones(4, np.float32), np.zeros(9, U8), np.zeros((2, 3), np.int16)
    plan = {"count": 4, "order": 1, "most": 4, "total": 4.0, "least": 0.0, "level": 1.0, "slack": 1.0, "first": 1.0}
    plan |= {"smallest": 1e-6, "passes": True, "decay": 1.0}
    for change, message in [
        ({"level": np.inf}, "positive"),
        ({"level": np.nan}, "positive"),
        ({"slack": 1.5}, "positive"),
        ({"smallest": 0.0}, "positive"),
        ({"decay": 0.0}, "decay"),
        ({"decay": 1.1}, "decay"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.refine_encode(w, y, out, **{**plan, **change})
    with pytest.raises(ValueError, match="w must have 4"):
        _core.refine_encode(w[:3].copy(), y, out, **plan)
    with pytest.raises(ValueError, match="finite"):
        _core.refine_encode(np.array([1, np.nan, 1, 1], np.float32), y, out, **plan)
    with pytest.raises(TypeError, match="uint8"):
        _core.refine_decode(w, y, True, 1.0, 3)
    with pytest.raises(ValueError, match="rows of 4"):
        _core.encode_levels(levels, 4, out)
    with pytest.raises(ValueError, match="rows of 0"):
        _core.decode_levels(out, 0, levels)


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
def test_damaged_streams_are_refused_in_words_or_decode_to_finite_numbers(method, rng):
    e = quantize(rng.laplace(size=(5, 60)), 2, method)
    for i in range(200):
        stream = e.planes["stream"].copy()
        stream[rng.integers(0, stream.size, 1 + i % 3)] ^= rng.integers(1, 256, dtype=U8)
        try:
            assert np.isfinite(decode(Encoded({**e.planes, "stream": stream}, e.spec))).all()
        except EncodedError as error:
            assert "plane 'stream'" in str(error)


@pytest.mark.parametrize(
    ("quantizer", "plane"),
    [
        (DeadZone(3), "levels"),
        (MagnitudePruning(6, values="bfloat16"), "values"),
        (Pruning(3), "scales"),
        (Residual(3, books="kmeans", width=2), "codewords"),
        (Residual(3), "left"),
        (Sparq(), "scales"),
        (Sparq(pairs=True), "scales"),
    ],
)
def test_damaged_numbers_are_refused_or_decode_to_finite_ones(quantizer, plane, rng):
    e, decoded = quantizer.encode(np.abs(rng.laplace(size=(30, 12))).astype(np.float32)), 0
    kind = e.planes[plane].dtype
    for bits in (b"\x7f" * 8, b"\xff" * 8, b"\xff\x7f" * 4, b"\xff\xff\x7f\x7f" * 2, b"\xff" * 6 + b"\xef\x7f", bytes(8)):
        number = np.frombuffer(bits[: kind.itemsize], kind)
        damaged = e.planes[plane].copy()
        damaged.reshape(-1)[:2] = number
        with np.errstate(all="ignore"):
            try:
                assert np.isfinite(decode(Encoded({**e.planes, plane: damaged}, e.spec))).all()
                decoded += 1
            except EncodedError as error:
                assert f"plane '{plane}'" in str(error)
    assert decoded


@pytest.mark.parametrize("method", ["dead_zone", "magnitude"])
def test_streams_without_prefixes_say_so(method, rng):
    e = quantize(rng.laplace(size=(5, 60)), 2, method)
    stream = e.planes["stream"]
    with pytest.raises(EncodedError, match="plane 'stream' ends, or makes no sense, at value"):
        decode(Encoded({**e.planes, "stream": stream[:-3]}, {**e.spec, "bytes": stream.size - 3}))
    with pytest.raises(EncodedError, match="more bytes than its values take"):
        decode(Encoded({**e.planes, "stream": np.append(stream, np.zeros(8, U8))}, {**e.spec, "bytes": stream.size + 8}))
    with pytest.raises(ValueError, match=f"method '{method}' has no stream that can be cut"):
        decode(e, bits=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": -1}, "spec.bytes is -1"),
        ({"events": "9"}, "spec.events is '9'"),
        ({"passes": 1}, "spec.passes is 1"),
        ({"parts": "column"}, "spec.parts is 'column'"),
        ({"parts": [100, 100]}, "spec.parts must be lengths that add up"),
        ({"scales": "float16"}, "spec.scales is 'float16'"),
        ({"shape": [2**20, 2**20]}, "a refinement takes at most 4294967294"),
        ({"coding": "arithmetic"}, "spec.coding is 'arithmetic'"),
        ({"extra": 1}, "spec.extra is unknown"),
    ],
)
def test_specs_that_mean_nothing_are_refused(change, message, rng):
    e = Pruning(2).encode(rng.laplace(size=(5, 60)))
    with pytest.raises(EncodedError, match=message):
        decode(Encoded(e.planes, e.spec | change))
    with pytest.raises(EncodedError, match="plane 'head' must hold"):
        decode(Encoded({**e.planes, "head": np.array([1.0, 0.0])}, e.spec))


def test_survivors_and_their_places_must_agree(rng):
    e = quantize(rng.laplace(size=(5, 60)), 8, "magnitude")
    with pytest.raises(EncodedError, match="plane 'values' has"):
        decode(Encoded({**e.planes, "values": e.planes["values"][:-1]}, e.spec | {"kept": e.spec["kept"] - 1}))
