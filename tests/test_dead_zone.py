import numpy as np
import pytest

import evenbits
from evenbits import _core
from evenbits.quantizers import DeadZone, Pruning, quantize


def rate(encoded, x):
    return 8 * encoded.planes["stream"].size / x.size


@pytest.fixture(scope="module")
def laplacian():
    return np.random.default_rng(3).laplace(size=(100, 1000)).astype(np.float32)


# What a dead-zone quantizer of a Laplacian takes at best, by its entropy, at this mean absolute error in units of E|x|.
@pytest.mark.parametrize(("distortion", "bits"), [(0.9, 0.203), (0.6, 0.952), (0.4, 1.661), (0.2, 2.757), (0.1, 3.775)])
def test_streams_take_the_bits_that_theory_says(laplacian, distortion, bits):
    e = DeadZone(16, loss="absolute", distortion=distortion).encode(laplacian)
    x, y = np.abs(laplacian).astype(np.float64), e.decode()
    assert np.abs(laplacian - y).mean() / x.mean() == pytest.approx(distortion, rel=0.005)
    assert rate(e, laplacian) < 1.03 * bits


@pytest.mark.parametrize("bits", [0.1, 0.5, 1, 2.5, 4, 8])
def test_bits_are_a_ceiling_that_is_nearly_reached(laplacian, bits):
    e = DeadZone(bits).encode(laplacian)
    assert 0.97 * bits < rate(e, laplacian) <= bits
    assert e.nbytes <= DeadZone(bits).nbytes(laplacian.shape)


@pytest.mark.parametrize(("loss", "middle"), [("squared", np.mean), ("absolute", np.median)])
def test_levels_are_the_middle_of_what_they_stand_for(laplacian, loss, middle):
    e = DeadZone(2, loss=loss).encode(laplacian)
    size, y = np.abs(laplacian), np.abs(e.decode())
    first, second, step = e.planes["levels"]
    assert first == pytest.approx(middle(size[np.isclose(y, first, rtol=1e-5)]), rel=1e-3)
    beyond = y > (first + second) / 2
    assert second == pytest.approx(middle((size - y)[beyond]) + second, rel=2e-3)
    assert np.diff(np.unique(y[beyond]))[:5] == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_error_is_below_that_of_lloyd_max_at_equal_bits(laplacian, bits):
    fixed = quantize(laplacian, bits, "lloyd_max", law="laplacian", per="tensor").error(laplacian)
    assert quantize(laplacian, bits, "dead_zone").error(laplacian) < 0.75 * fixed


@pytest.mark.parametrize("budget", [0.5, 1, 3.3, 7])
@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
@pytest.mark.parametrize("shape", [(1000,), (40, 64), (3, 7, 50)])
def test_a_budget_is_never_exceeded(budget, method, shape, rng):
    x = rng.standard_normal(shape) ** 3
    try:
        e = quantize(x, method=method, budget=budget)
    except ValueError as error:
        assert budget < 2.5 and "do not fit" in str(error)
        return
    assert e.bits_per_value <= budget


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (40,), (3, 0), (0, 5), (2, 3, 16), (70, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8"])
def test_every_shape_and_dtype_has_an_answer(method, shape, dtype, rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = (10 * rng.standard_normal(shape)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    for bits in (0.5, 3, 16):
        e = quantize(x, bits, method)
        y = e.decode()
        assert y.shape == x.shape and y.dtype == (np.float32 if dtype == "int8" else x.dtype)
        assert e.error(x) <= 1 + 1e-3


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
@pytest.mark.parametrize("exponent", [-1060, -140, 100, 1000])
def test_numbers_of_any_size_keep_their_error(method, exponent, rng):
    x = rng.laplace(size=(4, 100))
    options = {"pruning": {"scale_dtype": "float64"}, "magnitude": {"values": "float64"}}.get(method, {})
    expected, far = quantize(x, 8, method, **options).error(x), np.ldexp(x, exponent)
    assert quantize(far, 8, method, **options).error(far) <= expected + 1e-3


@pytest.mark.parametrize("bits", [0.3, 4, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_greatest_numbers_that_there_are(bits, dtype):
    dead = [DeadZone(bits, **options) for options in ({}, {"distortion": 0.01}, {"loss": "absolute"})]
    pruned = [Pruning(bits, scale_dtype="float64", normalize=unit) for unit in ("l1", "l2", "mean")]
    for x in (np.ones((4, 8)), np.linspace(-1, 1, 99), np.append(np.ones(9) / 4, -1)):
        far = (x * np.finfo(dtype).max).astype(dtype)
        for q in dead + pruned:
            y = q.encode(far).decode()
            assert np.isfinite(y).all() and np.linalg.norm(y / np.finfo(dtype).max - x) <= np.linalg.norm(x)
    with pytest.raises(ValueError, match="normalize is 'none'"):
        Pruning(bits, normalize="none").encode(far)


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
def test_zeros_come_back(method):
    e = quantize(np.zeros((3, 5)), 4, method)
    assert e.planes["stream"].size == 0 and not e.decode().any()


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
def test_strided_read_only_and_big_endian_arrays_give_the_same_bytes(method, rng):
    x = rng.standard_normal((6, 40)).astype(np.float32)
    expected = quantize(x, 2, method).planes
    fixed = x.copy()
    fixed.flags.writeable = False
    for same in (np.repeat(x, 2, axis=1)[:, ::2], fixed, x.astype(">f4"), np.asfortranarray(x), x.tolist()):
        found = quantize(np.asarray(same, None if not isinstance(same, list) else np.float32), 2, method).planes
        assert {k: p.tobytes() for k, p in found.items()} == {k: p.tobytes() for k, p in expected.items()}


@pytest.mark.parametrize("method", ["dead_zone", "pruning", "magnitude"])
def test_nan_and_infinity_are_named(method):
    for bad in (np.nan, -np.inf):
        x = np.ones((2, 8))
        x[1, 3] = bad
        with pytest.raises(ValueError, match=r"x\[1, 3\] is"):
            quantize(x, 2, method)


@pytest.mark.parametrize("method", ["dead_zone", "pruning"])
def test_workers_and_instruction_sets_give_the_same_bytes(method, rng):
    x = rng.laplace(size=(700, 600)).astype(np.float32)
    before, found = _core.isa(), set()
    try:
        for isa in _core.available_isas():
            _core.use_isa(isa)
            for workers in (1, 3):
                e = quantize(x, 1.3, method, workers=workers)
                found.add((*(p.tobytes() for p in e.planes.values()), e.decode(workers=workers).tobytes()))
    finally:
        _core.use_isa(before)
    assert len(found) == 1


def test_files_of_streams_are_read_and_verified(tmp_path, rng):
    x = rng.laplace(size=(30, 50)).astype(np.float32)
    codes = {method: quantize(x, 2, method) for method in ("dead_zone", "pruning", "magnitude")}
    evenbits.save(tmp_path / "f", codes)
    assert evenbits.verify(tmp_path / "f").ok
    for name, e in evenbits.load(tmp_path / "f").items():
        np.testing.assert_array_equal(e.decode(), codes[name].decode())


def test_constant_and_sparse_arrays_take_few_bytes():
    assert quantize(np.ones((100, 100)), 4, "dead_zone").error(np.ones((100, 100))) < 1e-3
    x = np.zeros(100_000)
    x[::1000] = 1
    e = quantize(x, 1, "dead_zone")
    assert e.error(x) < 0.01 and e.planes["stream"].size < 350


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cubic"}, "loss is 'cubic'"),
        ({"distortion": 2}, "distortion is 2"),
        ({"dead": 0}, "dead is 0"),
        ({"bits": 17}, "bits is 17"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DeadZone(**{"bits": 2, **options})
