import math

import numpy as np
import pytest

import evenbits
from evenbits.quantizers import quantize
from evenbits.quantizers.pruning import SCHEDULES, Pruning, _log, decode_tensors, missing


@pytest.fixture(scope="module")
def laplacian():
    return np.random.default_rng(1).laplace(size=(50, 1000)).astype(np.float32)


# One weight at a time by ideal codes takes 1.44, 1.57 and 1.55 times the least.
@pytest.mark.parametrize(("schedule", "distortion", "ratio"), [
    ("stable", 0.9, 1.45), ("stable", 0.5, 1.6), ("stable", 0.2, 1.6),
    ("passes", 0.9, 1.3), ("passes", 0.5, 1.3), ("passes", 0.2, 1.3),
])  # fmt: skip
def test_indices_take_little_more_than_the_least_bits(laplacian, schedule, distortion, ratio):
    e = Pruning(16, schedule=schedule, distortion=distortion).encode(laplacian)
    y = e.decode()
    reached = np.abs(laplacian - y).mean() / np.abs(laplacian).mean()
    assert reached <= distortion + 1e-4
    indices = (8 * e.planes["stream"].size - np.count_nonzero(y)) / y.size
    assert indices < ratio * -math.log2(reached)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_prefix_decodes_with_an_error_that_is_known(laplacian, schedule):
    e = Pruning(2, schedule=schedule).encode(laplacian)
    last, total = 1.0, np.abs(laplacian).sum(dtype=np.float64)
    for bits in (0.03, 0.1, 0.4, 1, 2, 5):
        y, cut = evenbits.decode(e, bits=bits), e.cut(bits)
        np.testing.assert_array_equal(cut.decode(), y)
        assert cut.bits_per_value <= bits and cut.nbytes <= e.nbytes
        error = np.abs(laplacian - y).sum(dtype=np.float64) / total
        assert error == pytest.approx(missing(e, bits), abs=1e-5) and error <= last
        assert (np.abs(y) <= np.abs(laplacian) * (1 + 1e-6)).all()
        last = error
    assert missing(e) == missing(e.cut(2.5))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.999])
def test_so_many_zeros_remain(laplacian, schedule, sparsity):
    y = Pruning(16, sparsity=sparsity, schedule=schedule).encode(laplacian).decode()
    assert np.mean(y == 0) == pytest.approx(sparsity, abs=1e-4) and np.mean(y == 0) >= sparsity


@pytest.mark.parametrize("schedule", ["stable", "passes"])
def test_more_bits_never_make_it_worse(laplacian, schedule):
    errors = [quantize(laplacian, bits, "pruning", schedule=schedule).error(laplacian) for bits in (0.25, 0.5, 1, 2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < (1e-3 if schedule == "passes" else 0.05)


@pytest.mark.parametrize("normalize", ["l1", "l2", "mean", "none"])
def test_rows_can_have_units_of_their_own(normalize, rng):
    x = rng.laplace(size=(10, 200)) * np.logspace(-2, 2, 10)[:, None]
    e = Pruning(3, per="row", normalize=normalize).encode(x)
    errors = np.linalg.norm(x - e.decode(), axis=1) / np.linalg.norm(x, axis=1)
    assert (errors.max() < 0.4) == (normalize != "none")


def test_several_tensors_are_one_stream(rng):
    tensors = {"a": rng.laplace(size=(30, 20)).astype(np.float32), "b": 100 * rng.standard_normal(50), "c": np.zeros((2, 3))}
    shapes = {name: x.shape for name, x in tensors.items()}
    e = Pruning(4, normalize="mean").encode_tensors(tensors)
    for bits in (None, 3.5):
        back = decode_tensors(e, shapes, bits=bits)
        assert {name: x.shape for name, x in back.items()} == shapes
        for name, x in tensors.items():
            assert np.linalg.norm(back[name] - x) <= 0.8 * np.linalg.norm(x)
    with pytest.raises(ValueError, match=r"shapes have \[3\] values"):
        decode_tensors(e, {"a": (3,)})
    with pytest.raises(ValueError, match=r"b\[1\] is nan"):
        Pruning(4).encode_tensors({"a": [1.0], "b": [0.0, np.nan]})


def test_few_large_weights_do_not_keep_it_from_the_others(rng):
    x = rng.laplace(size=20_000)
    x[:3] = 1000
    assert quantize(x, 8, "pruning").error(x) < 5e-3


def test_bits_below_the_spec_and_wrong_options_are_named(laplacian):
    e = Pruning(1).encode(laplacian)
    with pytest.raises(ValueError, match="bits leaves nothing of the stream"):
        e.cut(0.001)
    with pytest.raises(ValueError, match="bits is -1"):
        e.decode(bits=-1)
    for options, message in [
        ({"schedule": "fast"}, "schedule is 'fast'"),
        ({"share": 1}, "share is 1"),
        ({"sparsity": -1}, "sparsity is -1"),
        ({"distortion": 1.5}, "distortion is 1.5"),
        ({"normalize": "max"}, "normalize is 'max'"),
        ({"scale_dtype": "float16"}, "scale_dtype is 'float16'"),
    ]:
        with pytest.raises(ValueError, match=message):
            Pruning(2, **options)
    with pytest.raises(ValueError, match=r"can't hold a scale of .*; take 'float64'"):
        Pruning(2).encode(np.array([1e300, 1.0]))
    with pytest.raises(ValueError, match="has no stream that can be cut"):
        missing(quantize(laplacian, 2))


def test_of_zeros_nothing_is_missing():
    assert missing(Pruning(2).encode(np.zeros((3, 4)))) == 0


def test_logarithms_are_those_of_math():
    for x in (1.0, 1.1, 1.5, 2.0, 10.0, 12345.6, 4e9):
        assert _log(x) == pytest.approx(math.log(x), rel=1e-13, abs=1e-15)
