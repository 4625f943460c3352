import numpy as np
import pytest

import evenbits
from evenbits import Encoded, EncodedError, _core, decode, quantize
from evenbits.quantizers import EntropyTrellis


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(5).standard_normal((32, 4096)).astype(np.float32)


def ratio(x, **options):
    """The error over the least possible at the bits taken, all counted."""
    e = quantize(x, method="entropy_trellis", **options)
    return e.error(x) ** 2 * 4**e.bits_per_value


@pytest.mark.parametrize("budget", [0.25, 0.5, 1, 2, 4])
def test_gaussians_come_within_a_sixth_of_the_limit_at_every_budget(gaussian, budget):
    assert ratio(gaussian, budget=budget) < 1.16
    if budget in (0.5, 2):
        assert ratio(gaussian, budget=budget, states=64) < 1.12


@pytest.mark.parametrize("states", [4, 8, 128])
def test_states_have_laws_of_their_own_at_low_rates(gaussian, states):
    e = quantize(gaussian, method="entropy_trellis", budget=0.5, states=states)
    assert e.spec["contexts"] == min(states, 8) == len(e.planes["lengths"])
    assert e.error(gaussian) ** 2 * 4**e.bits_per_value < {4: 1.2, 8: 1.165, 128: 1.11}[states]
    assert "contexts" not in quantize(gaussian, 3, "entropy_trellis", states=states).spec


def test_more_states_are_better(gaussian):
    ratios = [ratio(gaussian, bits=2, states=n) for n in (4, 16, 128)]
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] < 1.11


@pytest.mark.parametrize("power", [1, 3])
def test_rotation_makes_laws_alike(gaussian, power):
    assert quantize(gaussian**power, 2, "entropy_trellis").error(gaussian**power) ** 2 < 0.0745


def test_laws_with_shorter_codes_are_better_off_as_they_are(rng):
    x = np.where(rng.random((10, 1000)) < 0.02, rng.standard_normal((10, 1000)), 0).astype(np.float32)
    rotated, plain = (quantize(x, 1, "entropy_trellis", rotate=rotate).error(x) for rotate in (True, False))
    assert plain < 0.2 * rotated


@pytest.mark.parametrize("bits", [0.05, 0.5, 1, 2.5, 4, 8])
def test_bits_are_a_ceiling_that_is_nearly_reached(gaussian, bits):
    e = EntropyTrellis(bits).encode(gaussian)
    taken = sum(plane.nbytes for name, plane in e.planes.items() if name != "scale")
    assert 0.97 * bits - 0.01 < 8 * taken / gaussian.size <= bits
    assert e.nbytes <= EntropyTrellis(bits).nbytes(gaussian.shape)


@pytest.mark.parametrize("budget", [0.1, 2, 16])
@pytest.mark.parametrize("shape", [(1000,), (3, 7, 50), (300, 10)])
@pytest.mark.parametrize("options", [{}, {"rotate": False, "rows_per_block": 3}, {"per": "row"}])
def test_a_budget_is_never_exceeded(budget, shape, options, rng):
    x = rng.standard_normal(shape) ** 3
    try:
        e = quantize(x, method="entropy_trellis", budget=budget, **options)
    except ValueError as error:
        assert budget < 3 and "do not fit" in str(error)
        return
    assert e.bits_per_value <= budget
    assert e.error(x) < (0.4 if budget > 6 and x.size > 2000 else 1.001)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (0, 5), (2, 3, 16), (70, 1), (9, 600)])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "int8"])
def test_every_shape_and_dtype_has_an_answer(shape, dtype, rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = (10 * rng.standard_normal(shape)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    for bits, per in ((0.5, "tensor"), (3, "row"), (16, "tensor")):
        e = quantize(x, bits, "entropy_trellis", per=per)
        y = e.decode()
        assert y.shape == x.shape and y.dtype == (np.float32 if dtype == "int8" else x.dtype)
        assert e.error(x) <= (1 + 1e-3 if bits < 16 or x.size < 1000 else 0.01)


@pytest.mark.parametrize("exponent", [-1060, -140, 100, 1000])
@pytest.mark.parametrize("per", ["tensor", "row"])
def test_numbers_of_any_size_keep_their_error(exponent, per, rng):
    x = rng.standard_normal((4, 1000))
    expected, far = quantize(x, 4, "entropy_trellis", per=per).error(x), np.ldexp(x, exponent)
    assert quantize(far, 4, "entropy_trellis", per=per).error(far) <= expected + 1e-3


def test_zeros_come_back():
    e = quantize(np.zeros((3, 5)), 4, "entropy_trellis")
    assert list(e.planes) == ["stream"] and not e.decode().any()


def test_a_few_huge_values_come_back_as_they_are(rng):
    x = rng.standard_normal((20, 500)).astype(np.float32)
    x[3, 100], x[7, 7] = 1e6, -3e5
    e = quantize(x, 3, "entropy_trellis", rotate=False)
    assert e.planes["places"].tolist() == [1600, 3507]
    np.testing.assert_allclose(e.decode()[[3, 7], [100, 7]], [1e6, -3e5], rtol=1e-6)
    ordinary = np.abs(x) < 100
    assert np.square(x - e.decode())[ordinary].mean() < 0.03


def test_scales_of_rows_give_all_rows_the_same_error(rng):
    x = rng.standard_normal((6, 4000)) * 10.0 ** np.arange(-3, 3)[:, None]
    x[2] = 0
    y = quantize(x, 2, "entropy_trellis", per="row").decode()
    errors = np.square(x - y).sum(1)[[0, 1, 3, 4, 5]] / np.square(x).sum(1)[[0, 1, 3, 4, 5]]
    assert errors.max() < 0.09 and not y[2].any()


@pytest.mark.parametrize("per", ["tensor", "row"])
def test_unbiased_codes_keep_the_inner_product(gaussian, per):
    x = gaussian[:4] * 1e-3
    for bits in (0.5, 2):
        y = quantize(x, bits, "entropy_trellis", fit="unbiased", per=per).decode().astype(np.float64)
        assert (x * y).sum() == pytest.approx(np.square(x.astype(np.float64)).sum(), rel=1e-3 if per == "row" else 1e-5)


@pytest.mark.parametrize("rotate", [True, False])
def test_workers_blocks_and_instruction_sets_give_the_same_bytes(rotate, rng):
    x = rng.laplace(size=(150, 900)).astype(np.float32)
    before, found = _core.isa(), set()
    try:
        for isa in _core.available_isas():
            _core.use_isa(isa)
            for workers in (1, 3):
                e = quantize(x, 1.3, "entropy_trellis", workers=workers, rotate=rotate, states=8, rows_per_block=64)
                found.add((*(p.tobytes() for p in e.planes.values()), e.decode(workers=workers).tobytes()))
    finally:
        _core.use_isa(before)
    assert len(found) == 1


def test_rows_decode_alone(rng):
    x = rng.standard_normal((50, 300))
    e = quantize(x, 2, "entropy_trellis", rows_per_block=4, rotate=False)
    assert len(e.planes["sizes"]) == 13
    whole, rows = e.decode(), e._meaning.decoder(e.planes)
    for begin, end in ((0, 50), (3, 4), (4, 8), (7, 23), (49, 50)):
        np.testing.assert_array_equal(rows(begin, end).astype(np.float64), whole[begin:end])


def test_rows_longer_than_a_block_are_cut(rng):
    x = rng.standard_normal((2, (1 << 18) + 1000)).astype(np.float32)
    for rotate in (False, True):
        e = quantize(x, 1, "entropy_trellis", rotate=rotate, states=4)
        assert len(e.planes["sizes"]) == 3 and e.error(x) ** 2 < 0.33


def test_strided_read_only_and_big_endian_arrays_give_the_same_bytes(rng):
    x = rng.standard_normal((6, 400)).astype(np.float32)
    expected = quantize(x, 2, "entropy_trellis").planes
    fixed = x.copy()
    fixed.flags.writeable = False
    for same in (np.repeat(x, 2, axis=1)[:, ::2], fixed, x.astype(">f4"), np.asfortranarray(x)):
        found = quantize(same, 2, "entropy_trellis").planes
        assert {k: p.tobytes() for k, p in found.items()} == {k: p.tobytes() for k, p in expected.items()}


def test_nan_and_infinity_are_named():
    for bad in (np.nan, -np.inf):
        x = np.ones((2, 8))
        x[1, 3] = bad
        with pytest.raises(ValueError, match=r"x\[1, 3\] is"):
            quantize(x, 2, "entropy_trellis")


def test_files_are_read_and_verified(tmp_path, rng):
    x = rng.laplace(size=(30, 500)).astype(np.float32)
    codes = {str(o): quantize(x, 2, "entropy_trellis", **o) for o in ({}, {"per": "row", "seed": 3}, {"rotate": False})}
    evenbits.save(tmp_path / "f", codes)
    assert evenbits.verify(tmp_path / "f").ok
    for name, e in evenbits.load(tmp_path / "f").items():
        np.testing.assert_array_equal(e.decode(), codes[name].decode())


@pytest.mark.parametrize("law", ["empirical", "gaussian"])
def test_damaged_planes_are_refused_in_words_or_decode_to_numbers(law, rng):
    e = quantize(rng.laplace(size=(5, 600)), 2, "entropy_trellis", law=law)
    for i in range(60):
        name = ("stream", "lengths", "offsets", "stream")[i % 4] if law == "empirical" else ("stream", "law")[i % 2]
        plane = e.planes[name].copy()
        plane.view(np.uint8).reshape(-1)[rng.integers(0, plane.nbytes, 1 + i % 3)] ^= rng.integers(1, 256, dtype=np.uint8)
        try:
            assert np.isfinite(decode(Encoded({**e.planes, name: plane}, e.spec))).all()
        except EncodedError as error:
            assert "plane 'stream' makes no sense in block 0 of 1" in str(error)
    stream = e.planes["stream"]
    for n in range(0, stream.size, 37):
        cut = Encoded({**e.planes, "stream": stream[:n]}, {**e.spec, "bytes": n})
        with pytest.raises(EncodedError, match="plane 'stream' makes no sense in block" if n else "is unknown to method"):
            decode(cut)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": -1}, "spec.bytes is -1"),
        ({"order": 9}, "spec.order is 9"),
        ({"block": 0}, "spec.block is 0"),
        ({"block": 1 << 19}, "spec.block is 524288"),
        ({"top": 1024}, "spec.top is 1024"),
        ({"rotated": 1}, "spec.rotated is 1"),
        ({"per": "column"}, "spec.per is 'column'"),
        ({"shape": [2**20, 2**20]}, "fewer than 2\\^32"),
        ({"extra": 1}, "spec.extra is unknown"),
        ({"contexts": 2}, "spec.contexts is 2"),
        ({"contexts": 6}, "spec.contexts is 6"),
        ({"contexts": 8, "order": 2}, "spec.contexts is 8; it must be 4 or 8, at most the 4 states"),
        ({"contexts": 8, "top": 3}, "plane 'law' is unknown"),
        ({"exponent": 2000}, "spec.exponent is 2000"),
        ({"outliers": 2}, "plane 'outliers' is missing"),
    ],
)
def test_specs_that_mean_nothing_are_refused(change, message, rng):
    e = EntropyTrellis(2).encode(rng.laplace(size=(5, 60)))
    with pytest.raises(EncodedError, match=message):
        decode(Encoded(e.planes, e.spec | change))


def test_planes_that_contradict_each_other_are_refused(rng):
    x = rng.standard_normal((20, 500)).astype(np.float32)
    x[3, 100], x[7, 7] = 1e6, -3e5
    e = quantize(x, 3, "entropy_trellis", rotate=False)
    for places in ([3507, 1600], [1600, 1600], [1600, 10000]):
        with pytest.raises(EncodedError, match="plane 'places' must ascend, below 10000"):
            decode(Encoded({**e.planes, "places": np.array(places, np.uint32)}, e.spec))
    e = quantize(x, 3, "entropy_trellis", rotate=False, rows_per_block=7)
    with pytest.raises(EncodedError, match="plane 'sizes' does not add up"):
        decode(Encoded({**e.planes, "sizes": e.planes["sizes"] + np.uint32(1)}, e.spec))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": 12}, "states is 12"),
        ({"states": 512}, "states is 512"),
        ({"per": "column"}, "per is 'column'"),
        ({"fit": "range"}, "fit is 'range'"),
        ({"law": "cauchy"}, "law is 'cauchy'"),
        ({"rows_per_block": 0}, "rows_per_block is 0"),
        ({"bits": 17}, "bits is 17"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        EntropyTrellis(**{"bits": 2, **options})


def test_scales_beyond_float64_are_refused(rng):
    e = evenbits.quantize(rng.standard_normal((8, 200)).astype(np.float32), 2, "entropy_trellis", rotate=False)
    with pytest.raises(evenbits.EncodedError, match=r"plane 'scale' times 2\^1100 is beyond float64"):
        evenbits.decode(evenbits.Encoded(e.planes, e.spec | {"exponent": 1100}))
