import contextlib
import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evenbits
from evenbits.packing import Radix
from evenbits.quantizers import methods
from evenbits.spec import GRIDS, EncodedError, Spec, canonical_json, levels_of, possible


def example(**options):
    return methods()["democratic"](0.7, seed=5, **options).spec((3, 40), "float32").to_dict()


@pytest.mark.parametrize("name", [name for name, kind in methods().items() if kind.fixed])
@pytest.mark.parametrize("bits", [0.5, 1, 1.5, 3, 7.9, 8])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (40,), (3, 40), (0, 40), (3, 0), (2, 3, 64)])
def test_a_spec_survives_its_dictionary(name, bits, shape):
    if bits < 1 and (not shape or shape[-1] == 1):
        with pytest.raises(ValueError, match="leaves no code"):
            methods()[name](bits).spec(shape)
        return
    spec = methods()[name](bits, seed=3, stream=9).spec(shape, "float16")
    assert canonical_json(Spec.parse(spec.to_dict()).to_dict()) == canonical_json(spec.to_dict())


@pytest.mark.parametrize("grid", [g for g in GRIDS if g != "table"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 16, 255, 256])
def test_levels_ascend_and_upper_levels_cover_the_same_range(grid, count):
    if not possible(grid, Radix(count, 0, 1, 8)):
        pytest.skip("no such grid")
    levels = levels_of(grid, count, count)
    assert (np.diff(levels) > 0).all()
    if grid in ("mid_rise", "end_point", "mid_tread", "affine") and count < 256:
        upper = levels_of(grid, count + 1, count)
        assert len(upper) == count + 1
        half = 0.5 if grid == "mid_rise" else 0.0
        reach = [t[-1] + half * (t[-1] - t[-2]) for t in (levels, upper)]
        assert reach[0] == pytest.approx(reach[1], rel=1e-6)


def test_documented_levels():
    np.testing.assert_array_equal(levels_of("mid_rise", 4, 4), [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_array_equal(levels_of("end_point", 3, 2), [-0.5, 0, 0.5])
    np.testing.assert_array_equal(levels_of("mid_tread", 4, 4), [-2, -1, 0, 1])
    np.testing.assert_array_equal(levels_of("affine", 4, 4), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "spec.format is 2; this version of evenbits reads format 1"),
        (("format",), "1", "spec.format is '1'"),
        (("method",), None, "spec.method is None"),
        (("bits",), "1/0", "spec.bits is '1/0'"),
        (("bits",), "-7/3", "spec.bits is '-7/3'"),
        (("bits",), "17", "spec.bits is '17'"),
        (("bits",), "1e3000000", "spec.bits is '1e3000000'"),
        (("embedding", "length"), 2**40, "spec.embedding.length is"),
        (("shape",), [3, -1], "spec.shape holds -1"),
        (("shape",), [2**40, 2**40], "too large"),
        (("shape",), 3, "spec.shape is 3"),
        (("dtype",), "int8", "spec.dtype is 'int8'"),
        (("grid",), "table2", "spec.grid is 'table2'"),
        (("grid",), "mid_tread", "grid 'mid_tread' does not have"),
        (("kept",), 0, "spec.kept is 0"),
        (("kept",), True, "spec.kept is True"),
        (("seed",), -1, "spec.seed is -1"),
        (("stream",), 2**63, "spec.stream is"),
        (("embedding", "length"), 46, "spec.embedding.length is 46; no transform"),
        (("embedding", "length"), 36, "spec.embedding.length is 36"),
        (("embedding", "kind"), "dct", "spec.embedding.kind is 'dct'"),
        (("embedding", "extra"), 1, "spec.embedding.extra is unknown"),
        (("codes",), [1, 0, 1, 1], "spec.codes: levels is 1"),
        (("codes",), [2, 0, 1, 65], "spec.codes: bits is 65"),
        (("codes",), [2, 0, 0, 1], "spec.codes: per is 0"),
        (("codes",), [2, 0, 1, True], "spec.codes is"),
        (("codes",), {"levels": 2}, "spec.codes is"),
        (("scales",), {"dtype": "int8", "per": "row"}, "spec.scales.dtype is 'int8'"),
        (("scales",), {"dtype": "float32", "per": 0}, "spec.scales.per is 0"),
        (("scales",), {"dtype": "float32", "per": 5}, "must be 'row' or 'tensor'"),
        (("colour",), "red", "spec.colour is unknown"),
    ],
)
def test_wrong_specs_name_the_key(path, value, message):
    spec = copy.deepcopy(example())
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(EncodedError, match=message):
        Spec.parse(spec)


@pytest.mark.parametrize("key", sorted(set(example()) - {"embedding", "seed"}))
def test_missing_keys_are_named(key):
    spec = example()
    del spec[key]
    expected = {"kept": "plane 'codes' is"}.get(key, f"spec.{key} is missing")
    with pytest.raises(EncodedError, match=expected):
        evenbits.decode(evenbits.Encoded(evenbits.quantize(np.ones((3, 40)), 0.7, "democratic", seed=5).planes, spec))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(sorted(example())), JSON)
def test_any_json_in_any_key_is_read_or_refused(key, value):
    spec = {**example(), key: value}
    with contextlib.suppress(EncodedError):
        Spec.parse(spec)


@given(JSON)
def test_any_json_is_refused(value):
    with pytest.raises(EncodedError):
        Spec.parse(value)
