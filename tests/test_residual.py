from fractions import Fraction

import numpy as np
import pytest

import evenbits
from evenbits.codings.residual import RATE, Books, common_level, order_of, water_level
from evenbits.quantizers import Residual
from evenbits.quantizers.residual import first_of, regularized
from evenbits.rate_distortion import reverse_water_filling

DECAY = np.exp(-0.05 * np.arange(120))


def decaying(rows, seed=0):
    return (np.random.default_rng(seed).standard_normal((rows, len(DECAY))) * np.sqrt(DECAY)).astype(np.float32)


def distortion(x, encoded):
    return np.sum((x - encoded.decode()) ** 2) / np.sum(x**2)


@pytest.mark.parametrize("bits", [0.75, 6, 20])
def test_the_level_of_the_water_is_where_the_bits_are_used_up(bits):
    g = water_level(DECAY, bits)
    assert np.sum(np.maximum(0, np.log2(DECAY / g)) / 2) == pytest.approx(bits, rel=1e-9)
    assert g == pytest.approx(reverse_water_filling(DECAY, bits)[0], rel=1e-9)
    assert water_level(np.zeros(3), 2) == 0 == water_level(np.zeros(0), 2)


def test_layers_leave_the_lesser_of_a_variance_and_a_level(isa):
    x = decaying(3000)
    left = np.mean((x - Residual(Fraction(24, 120)).encode(x).decode()) ** 2, axis=0).astype(float)
    v = np.mean(x.astype(float) ** 2, axis=0)
    level = common_level(v, left.sum())
    assert np.minimum(v, level).sum() == pytest.approx(left.sum())
    assert v[0] > 3 * level > 1.2 * water_level(v, RATE * 24)
    np.testing.assert_allclose(left, np.minimum(v, level), rtol=0.3)
    assert common_level(v, 2 * v.sum()) == v.max() and common_level(0 * v, 1) == 0


def test_regularized_codewords_have_the_variances_of_the_allocation(rng):
    words = regularized(rng.standard_normal((64, 120)).astype(np.float32), DECAY, 6)
    found = np.mean(words.astype(float) ** 2, axis=0)
    np.testing.assert_allclose(found, np.maximum(DECAY - water_level(DECAY, 6), 0), rtol=1e-5)
    assert not regularized(np.zeros((4, 120), np.float32), DECAY, 2).any()


def test_random_codebooks_generalise_where_those_of_k_means_do_not():
    train, test = decaying(300), decaying(500, 1)
    found = {}
    for books in ("random", "regularized", "kmeans"):
        q = Residual(Fraction(40, 120), books=books, width=5 if books == "regularized" else 8).train(train)
        found[books] = distortion(train, q.encode(train)), distortion(test, q.encode(test))
    limit = reverse_water_filling(DECAY, 40)[1].sum() / DECAY.sum()
    assert found["random"][1] < min(found["regularized"][1], found["kmeans"][1])
    assert found["kmeans"][0] < 0.1 < 0.7 < found["kmeans"][1]
    assert limit < found["random"][1] < 1.3 * limit + 0.05
    assert abs(found["random"][0] - found["random"][1]) < 0.03


@pytest.mark.parametrize("options", [{}, {"width": 3}, {"books": "kmeans", "width": 3}, {"transform": "pca"}])
def test_every_layer_makes_the_array_finer(options):
    x = decaying(200)[:, ::-1]  # variances ascend
    encoded = Residual(0.5, **options).encode(x)
    layers = len(encoded._meaning.depths)
    errors = [distortion(x, first_of(encoded, k)) for k in range(layers + 1)]
    assert errors[0] == pytest.approx(1, abs=0.02 if options.get("transform") else 1e-6)
    assert (np.diff(errors) < 0).all()
    np.testing.assert_array_equal(first_of(encoded, layers).decode(), encoded.decode())
    shorter = [first_of(encoded, k).nbytes for k in range(layers + 1)]
    assert (np.diff(shorter) > 0).all()


@pytest.mark.parametrize("options", [{}, {"books": "kmeans", "width": 2}, {"transform": "pca"}])
def test_bits_are_a_ceiling_of_the_first_layers(options):
    encoded = Residual(0.51, **options).encode(decaying(300))
    side = first_of(encoded, 0).bits_per_value
    for bits in np.linspace(side + 0.01, encoded.bits_per_value + 0.01, 7):
        cut = encoded.cut(bits)
        layers = len(cut._meaning.depths)
        assert cut.bits_per_value <= bits and cut.planes.keys() <= encoded.planes.keys()
        np.testing.assert_array_equal(encoded.decode(bits=bits), first_of(encoded, layers).decode())
        if layers < len(encoded._meaning.depths):
            assert first_of(encoded, layers + 1).bits_per_value > bits
    assert layers == len(encoded._meaning.depths)
    with pytest.raises(ValueError, match="bits leaves no layer; variances and spec alone take"):
        encoded.cut(side / 2)


def test_the_same_bytes_everywhere(isa):
    x = (np.arange(3000) * 7919 % 2003 / 1001.5 - 1).reshape(-1, 24).astype(np.float32) * np.linspace(
        1, 0.1, 24, dtype=np.float32
    )
    for options in ({}, {"books": "kmeans", "width": 2}, {"width": 7, "seed": 9, "stream": 4}):
        one, three = (Residual(1.7, **options).encode(x, workers=w) for w in (1, 3))
        for name, plane in one.planes.items():
            assert plane.tobytes() == three.planes[name].tobytes()
        np.testing.assert_array_equal(one.decode(), three.decode(workers=3))


@pytest.mark.parametrize("bits", [Fraction(1, 24), 0.5, 1, 2.3, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_planes_are_those_that_the_size_promised(bits, dtype, rng, tmp_path):
    x = rng.standard_normal((2, 7, 24)).astype(dtype)
    q = Residual(bits)
    encoded = q.encode(x)
    assert encoded.nbytes <= q.nbytes(x.shape, x.dtype.name) <= encoded.nbytes + 20
    evenbits.save(tmp_path / "x", {"x": encoded})
    back = evenbits.load(tmp_path / "x")["x"].decode()
    assert back.dtype == dtype and back.shape == x.shape
    np.testing.assert_array_equal(back, encoded.decode())


def test_a_budget_is_a_ceiling(rng):
    x = rng.standard_normal((400, 32)).astype(np.float32)
    for budget in (0.5, 1, 3.3):
        encoded = evenbits.quantize(x, method="residual", budget=budget)
        assert 0.7 * budget < encoded.bits_per_value <= budget
    with pytest.raises(ValueError, match="the least that method 'residual' can take"):
        evenbits.quantize(x[:2], method="residual", budget=0.1)


def test_rows_of_any_size(rng):
    x = rng.standard_normal((30, 10))
    usual = Residual(3).encode(x).error(x)
    assert usual < 0.35
    for factor in (1e-300, 1e-30, 1e30, 1e290):
        assert Residual(3).encode(x * factor).error(x * factor) == pytest.approx(usual, rel=0.2)
    assert not Residual(3).encode(0 * x).decode().any()
    for empty in (np.zeros((0, 4)), np.zeros((4, 0)), np.zeros(0)):
        assert Residual(3).encode(empty).decode().shape == empty.shape
    assert Residual(4).encode(np.float32(3)).decode().shape == ()


def test_rows_far_beyond_those_learned_from_are_refused(rng):
    x = rng.standard_normal((20, 8))
    for options in ({}, {"books": "kmeans", "width": 2}, {"transform": "pca"}):
        trained = Residual(1, **options).train(x)
        assert np.isfinite(trained.encode(x * 1e12).decode()).all()
        for size in (1e20, 1e300):
            with pytest.raises(ValueError, match="far beyond those that the quantizer was trained on"):
                trained.encode(x * size)


def test_coordinates_are_put_in_order_unless_they_nearly_are():
    np.testing.assert_array_equal(order_of(DECAY[::-1]), np.arange(120)[::-1])
    np.testing.assert_array_equal(order_of(DECAY * np.linspace(1, 1.02, 120)), np.arange(120))
    books = Books(DECAY, 0, 0)
    assert books.book(0, 8, 1.0).shape[1] < books.book(1, 8, 0.3).shape[1] < 120


def test_wrong_arguments_and_planes_are_named(rng):
    x = rng.standard_normal((20, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="bits leaves no code"):
        Residual(0.1).encode(x)
    with pytest.raises(ValueError, match="width is 9"):
        Residual(1, width=9)
    with pytest.raises(ValueError, match="fitted to other ones"):
        Residual(1).train(x).encode(x[:, :4])
    with pytest.raises(ValueError, match=r"x\[0, 0\] is nan"):
        Residual(1).encode(x * np.nan)
    encoded = Residual(1).encode(x)
    with pytest.raises(evenbits.EncodedError, match="'variances' holds a number below 0"):
        evenbits.decode(evenbits.Encoded(encoded.planes | {"variances": -encoded.planes["variances"]}, encoded.spec))
    with pytest.raises(evenbits.EncodedError, match=r"spec\.layers"):
        evenbits.decode(evenbits.Encoded(encoded.planes, encoded.spec | {"layers": [9, 1, 0]}))
    wide = Residual(1).encode(rng.standard_normal((2, 64)))
    many = {"codes": np.zeros((2**17, 4), np.uint8), "left": np.zeros(2**17, np.float32)}
    with pytest.raises(evenbits.EncodedError, match="too many for rows of 64"):
        evenbits.decode(evenbits.Encoded(wide.planes | many, wide.spec | {"layers": [8, 2**17, 0]}))
    with pytest.raises(ValueError, match="numbers of codewords"):
        Residual(8).spec((1, 2**14))
    with pytest.raises(TypeError, match="has no layers"):
        first_of(evenbits.quantize(x, 2), 1)
    with pytest.raises(TypeError, match="decode it first"):
        evenbits.linear(x, encoded)
