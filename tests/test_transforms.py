import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits import _core
from evenbits.matrices import base_matrix, base_order, hadamard_matrix
from evenbits.reference import transforms as reference

LENGTHS = [*(2**k for k in range(15)), 12, 20, 24, 28, 36, 52, 60, 96, 320, 384, 448, 768, 1536, 344]
HALVES = [np.float16, ml_dtypes.bfloat16]


def integers(rng, shape, dtype):
    return rng.integers(-99, 99, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("n", LENGTHS)
def test_equals_the_reference_bit_for_bit(isa, n, dtype, rng):
    for rows in (1, 3, 17):
        x = rng.standard_normal((rows, n)).astype(dtype) if dtype != np.int32 else integers(rng, (rows, n), dtype)
        np.testing.assert_array_equal(evenbits.hadamard_transform(x), reference.hadamard_transform(x, base_matrix(base_order(n))))


@pytest.mark.parametrize("n", [2, 12, 16, 24, 48, 80, 96, 160, 768, 344])
def test_zeros_have_the_signs_of_the_reference(isa, n, rng):
    zeros = np.copysign(0.0, rng.standard_normal((5, n)))
    x = np.where(rng.random((5, n)) < 0.1, rng.standard_normal((5, n)), zeros).astype(np.float32)
    x[0], x[1] = 0, -0.0
    base, signs = base_matrix(base_order(n)), evenbits.random_signs(3, 0, n)
    assert evenbits.hadamard_transform(x).tobytes() == reference.hadamard_transform(x, base).tobytes()
    out = np.empty_like(x)
    _core.hadamard(x, out, base, signs, signs, 0.25, 1)
    assert out.tobytes() == reference.hadamard_transform(x, base, 0.25, signs, signs).tobytes()


@pytest.mark.parametrize("n", [1, 2, 12, 64, 96, 1024, 1536])
def test_scale_and_factors_equal_the_reference(isa, n, rng):
    x, before, after = rng.standard_normal((3, 2, n)).astype(np.float32)
    before, after = before[0].copy(), after[0].copy()
    out, base = np.empty_like(x), base_matrix(base_order(n))
    _core.hadamard(x, out, base, before, after, 0.3, 1)
    np.testing.assert_array_equal(out, reference.hadamard_transform(x, base, 0.3, before, after))


@pytest.mark.parametrize("n", [1, 2, 4, 12, 20, 64, 96, 512])
def test_is_the_product_with_the_matrix(isa, n, rng):
    x = integers(rng, (5, n), np.int32)
    np.testing.assert_array_equal(evenbits.hadamard_transform(x), x @ hadamard_matrix(n).astype(np.int32))


def test_has_the_order_of_sylvester():
    np.testing.assert_array_equal(
        evenbits.hadamard_transform(np.eye(4)), [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    )


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(LENGTHS[:12] + LENGTHS[15:]), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_twice_is_n_times_the_input(n, rows, seed):
    x = np.random.default_rng(seed).integers(-1000, 1000, (rows, n)).astype(np.int32)
    np.testing.assert_array_equal(evenbits.hadamard_transform(evenbits.hadamard_transform(x)), n * x)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([8, 12, 256, 768]), st.integers(0, 2**32 - 1))
def test_preserves_the_norm_when_orthonormal(n, seed):
    x = np.random.default_rng(seed).standard_normal(n)
    y = evenbits.hadamard_transform(x, n**-0.5)
    assert np.dot(y, y) == pytest.approx(np.dot(x, x), rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([16, 24, 1024]), st.integers(0, 2**32 - 1))
def test_is_linear_on_integers(n, seed):
    x, y = np.random.default_rng(seed).integers(-999, 999, (2, n)).astype(np.int32)
    h = evenbits.hadamard_transform
    np.testing.assert_array_equal(h(x + 3 * y), h(x) + 3 * h(y))


def test_integers_wrap_around_at_32_bits(isa):
    x = np.full(64, 2**30, np.int32)
    np.testing.assert_array_equal(evenbits.hadamard_transform(x), np.zeros(64, np.int32))


@pytest.mark.parametrize("n", [2**17, 3 * 2**15])
def test_long_vectors_equal_the_reference(isa, n, rng):
    x = rng.standard_normal(n).astype(np.float32)
    np.testing.assert_array_equal(evenbits.hadamard_transform(x), reference.hadamard_transform(x, base_matrix(base_order(n))))


@pytest.mark.parametrize("workers", [1, 2, 7, -1])
def test_every_number_of_workers_gives_the_same_bytes(isa, workers, rng):
    x = rng.standard_normal((600, 1024)).astype(np.float32)
    assert evenbits.hadamard_transform(x, workers=workers).tobytes() == evenbits.hadamard_transform(x).tobytes()


@pytest.mark.parametrize(("n", "below", "above"), [(3, 2, 4), (10, 8, 12), (92, 88, 96), (999, 992, 1000)])
def test_names_the_nearest_lengths(n, below, above):
    with pytest.raises(ValueError, match=rf"order {n} is known here; the nearest lengths are {below} and {above}: pad"):
        evenbits.hadamard_transform(np.zeros(n))


def test_padding_appends_zeros(rng):
    x = rng.standard_normal((2, 10))
    wide = np.concatenate([x, np.zeros((2, 2))], axis=1)
    np.testing.assert_array_equal(evenbits.hadamard_transform(x, pad=True), evenbits.hadamard_transform(wide))


def test_a_base_gives_the_same_whether_the_compiler_knew_it_or_not(isa, rng):
    """Any symmetric matrix of the right size may be a base: these differ from the known ones in the order of their rows."""
    for m in (12, 20, 28):
        x, order = rng.standard_normal((2, 16 * m)).astype(np.float32), rng.permutation(m)
        base, out = np.ascontiguousarray(base_matrix(m)[order]), np.empty_like(x)
        _core.hadamard(x, out, base, None, None, 1.0, 1)
        expected = evenbits.hadamard_transform(x).reshape(2, m, 16)[:, order].reshape(x.shape)
        np.testing.assert_array_equal(out, expected)


def assert_halves_equal(y, expected):
    """Equal bits, where the one NaN of the kernels stands for all."""
    nan = np.array(0x7E00 if y.dtype == np.float16 else 0x7FC0, np.uint16)
    expected = np.where(np.isnan(expected), nan, expected.view(np.uint16))
    np.testing.assert_array_equal(y.view(np.uint16), expected)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("n", LENGTHS)
def test_half_precision_is_computed_in_float32_and_rounded_once(isa, n, dtype, rng):
    for rows in (1, 3, 17):
        x = rng.standard_normal((rows, n)).astype(dtype)
        for scale in (1, n**-0.5):
            y = evenbits.hadamard_transform(x, scale)
            assert y.dtype == dtype
            assert_halves_equal(y, evenbits.hadamard_transform(x.astype(np.float32), scale).astype(dtype))


@pytest.mark.parametrize("scale", [1, -0.7, 1 + 2**-11, 2**-9 + 2**-20, 2**-24, 3 * 2.0**-130, 2.0**12, 1.5 * 2.0**127])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.filterwarnings("ignore:(overflow|invalid)")
def test_all_16_bit_floats_are_rounded_as_numpy_rounds(isa, dtype, scale):
    x = np.arange(2**16, dtype=np.uint16).view(dtype).reshape(-1, 1)
    assert_halves_equal(evenbits.hadamard_transform(x, scale), (x.astype(np.float32) * np.float32(scale)).astype(dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_comes_in_any_layout(dtype, rng):
    x = rng.standard_normal((4, 64)).astype(dtype)
    expected = evenbits.hadamard_transform(x, 0.125)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], *([x.astype(">f2")] if dtype == np.float16 else [])):
        y = evenbits.hadamard_transform(same, 0.125)
        assert y.dtype == dtype
        assert y.tobytes() == expected.tobytes()
    assert evenbits.hadamard_transform(x, 0.125, out=x) is x
    assert x.tobytes() == expected.tobytes()


@pytest.mark.parametrize("workers", [2, 7])
@pytest.mark.parametrize("dtype", HALVES)
def test_workers_do_not_change_half_precision(isa, workers, dtype, rng):
    x = rng.standard_normal((500, 768)).astype(dtype)
    assert evenbits.hadamard_transform(x, workers=workers).tobytes() == evenbits.hadamard_transform(x).tobytes()
    y = evenbits.randomized_hadamard(x, seed=0, rounds=3)
    assert evenbits.randomized_hadamard(x, seed=0, rounds=3, workers=workers).tobytes() == y.tobytes()


def factors_of(seed, stream, n, rounds, dtype):
    return evenbits.random_signs(seed, stream, n * rounds, dtype=dtype).reshape(rounds, n) * dtype(1 / np.sqrt(n))


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, *HALVES])
@pytest.mark.parametrize("n", [*LENGTHS[:13], 24, 96, 320, 448, 768])
def test_rotations_equal_the_reference_bit_for_bit(isa, n, dtype, rounds, rng):
    x, base = rng.standard_normal((19, n)).astype(dtype), base_matrix(base_order(n))
    wide = np.float64 if dtype == np.float64 else np.float32
    factors = factors_of(5, 6, n, rounds, wide)
    y = evenbits.randomized_hadamard(x, seed=5, stream=6, rounds=rounds)
    assert y.tobytes() == reference.rotate(x.astype(wide), base, factors).astype(dtype).tobytes()
    back = evenbits.inverse_randomized_hadamard(y, seed=5, stream=6, rounds=rounds)
    assert back.tobytes() == reference.rotate(y.astype(wide), base, factors, inverse=True).astype(dtype).tobytes()


def test_long_rotations_equal_the_reference(isa, rng):
    x = rng.standard_normal((2, 2**15)).astype(np.float32)
    expected = reference.rotate(x, base_matrix(1), factors_of(1, 0, 2**15, 3, np.float32))
    assert evenbits.randomized_hadamard(x, seed=1, rounds=3).tobytes() == expected.tobytes()
    assert evenbits.randomized_hadamard(x, seed=1, rounds=3, out=x) is x
    assert x.tobytes() == expected.tobytes()


def test_kept_signs_are_as_drawn(rng):
    x = rng.standard_normal(64).astype(np.float32)
    drawn = [evenbits.randomized_hadamard(x, seed=seed).tobytes() for seed in range(20)]
    assert [evenbits.randomized_hadamard(x, seed=seed).tobytes() for seed in range(20)] == drawn
    assert len(set(drawn)) == 20


def test_layouts_and_byte_orders_do_not_matter(rng):
    x = rng.standard_normal((4, 64)).astype(np.float32)
    expected = evenbits.hadamard_transform(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (
        np.asfortranarray(x),
        x.astype(">f4"),
        frozen,
        np.repeat(x, 2, axis=1)[:, ::2],
        x[::-1][::-1],
        memoryview(x),
    ):
        result = evenbits.hadamard_transform(same)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype.isnative
    np.testing.assert_array_equal(evenbits.hadamard_transform([1.0, 2.0]), [3.0, -1.0])


def test_integers_need_not_be_aligned():
    x = np.arange(64, dtype=np.int32).reshape(4, 16)
    askew = np.frombuffer(b"-" + x.tobytes(), np.uint8)[1:].view(np.int32).reshape(x.shape)
    assert not askew.flags.aligned
    np.testing.assert_array_equal(evenbits.hadamard_transform(askew), evenbits.hadamard_transform(x))


def test_small_integers_and_booleans_become_int32():
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, bool):
        assert evenbits.hadamard_transform(np.ones(8, dtype)).dtype == np.int32


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.complex64, object, "U3"])
def test_refuses_other_dtypes(dtype):
    with pytest.raises(TypeError, match="x has dtype"):
        evenbits.hadamard_transform(np.zeros(4).astype(dtype))


def test_refuses_what_has_no_meaning():
    x = np.zeros((2, 8), np.float32)
    with pytest.raises(ValueError, match="no axis to transform"):
        evenbits.hadamard_transform(np.float32(1))
    with pytest.raises(ValueError, match="length 0"):
        evenbits.hadamard_transform(np.zeros((3, 0)))
    with pytest.raises(ValueError, match="scale is nan"):
        evenbits.hadamard_transform(x, np.nan)
    with pytest.raises(ValueError, match=r"scale is 0\.5; integers"):
        evenbits.hadamard_transform(np.ones(8, np.int32), 0.5)
    with pytest.raises(TypeError, match=r"scale is array\(\[1, 2\]\); it must be a number"):
        evenbits.hadamard_transform([1, 2], np.array([1, 2]))
    with pytest.raises(ValueError, match="workers is 0"):
        evenbits.hadamard_transform(x, workers=0)
    with pytest.raises(ValueError, match=r"out is float32\(8,\); it must be float32\(2, 8\)"):
        evenbits.hadamard_transform(x, out=x[0])
    with pytest.raises(ValueError, match="overlaps x"):
        y = np.zeros(24, np.float32)
        evenbits.hadamard_transform(y[:16], out=y[8:])


def test_no_rows_give_no_rows():
    assert evenbits.hadamard_transform(np.zeros((0, 8))).shape == (0, 8)
    assert evenbits.randomized_hadamard(np.zeros((0, 10), np.float32), seed=0).shape == (0, 12)


def test_nan_spreads_as_arithmetic_has_it():
    assert np.isnan(evenbits.hadamard_transform([1.0, np.nan, 0.0, 0.0])).all()


def test_leaves_the_input_alone_unless_asked(rng):
    x = rng.standard_normal(64).astype(np.float32)
    before = x.copy()
    evenbits.hadamard_transform(x)
    np.testing.assert_array_equal(x, before)
    assert evenbits.hadamard_transform(x, out=x) is x
    np.testing.assert_array_equal(x, evenbits.hadamard_transform(before))


def test_the_core_refuses_foreign_memory():
    x, out = np.zeros((2, 8), np.float32), np.zeros((2, 8), np.float32)
    one = base_matrix(1)
    for bad_out in (np.zeros(8, np.float32), np.zeros((2, 8)), np.zeros((2, 16), np.float32)[:, ::2]):
        with pytest.raises((TypeError, ValueError)):
            _core.hadamard(x, bad_out, one, None, None, 1.0, 1)
    for base in (base_matrix(12), np.ones((2, 2), np.int8), np.ones((0, 0), np.int8), np.ones((1, 1))):
        with pytest.raises((TypeError, ValueError)):
            _core.hadamard(x, out, base, None, None, 1.0, 1)
    with pytest.raises(ValueError, match="before must have 8 elements"):
        _core.hadamard(x, out, one, np.ones(4, np.float32), None, 1.0, 1)
    half, signs = np.zeros((2, 8), np.uint16), np.ones((1, 8), np.float32)
    for wrong in ((half[0], out), (half, half[0]), (half.astype(np.int16), half), (half, half.astype(np.float16))):
        with pytest.raises((TypeError, ValueError)):
            _core.hadamard_half(*wrong, one, 1.0, False, 1)
        with pytest.raises((TypeError, ValueError)):
            _core.rotate_half(*wrong, one, signs, False, True, 1)
    for factors in (signs[:, :7].copy(), signs[:0], signs.astype(np.float64), np.ones(12, np.float32)):
        with pytest.raises((TypeError, ValueError)):
            _core.rotate_half(half, half, one, factors, False, True, 1)
        with pytest.raises((TypeError, ValueError)):
            _core.rotate(x, out, one, factors, False, 1)
    with pytest.raises(ValueError, match="out must have 16 elements"):
        _core.rotate(x, out[0], one, signs, False, 1)
    with pytest.raises(ValueError, match="not made of rows"):
        _core.hadamard(x.reshape(-1)[:0], out[:0].reshape(-1), one, None, None, 1.0, 1)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("d", [1, 2, 10, 64, 384, 1000])
def test_a_rotation_and_its_inverse_give_the_vector_back(isa, d, rounds, rng):
    x = rng.standard_normal((3, d))
    y = evenbits.randomized_hadamard(x, seed=7, rounds=rounds)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-13)
    back = evenbits.inverse_randomized_hadamard(y, seed=7, rounds=rounds, length=d)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-14 * np.abs(x).max() * 8)


def test_a_rotation_is_exact_when_its_scale_is_a_power_of_two(rng):
    x = integers(rng, (4, 256), np.float32)
    y = evenbits.randomized_hadamard(x, seed=3, stream=5, rounds=2)
    np.testing.assert_array_equal(evenbits.inverse_randomized_hadamard(y, seed=3, stream=5, rounds=2), x)


def test_seeds_streams_and_rounds_give_different_rotations(rng):
    x = rng.standard_normal(64).astype(np.float32)
    drawn = [(s, t, r) for s in (0, 1, 2**64 - 1) for t in (0, 1, 2**64 - 1) for r in (1, 2)]
    assert len({evenbits.randomized_hadamard(x, seed=s, stream=t, rounds=r).tobytes() for s, t, r in drawn}) == len(drawn)


def test_a_rotation_spreads_a_spike_evenly():
    d = 4096
    x = np.zeros((20, d), np.float32)
    x[np.arange(20), np.arange(20) * 200] = 1
    y = evenbits.randomized_hadamard(x, seed=0)
    np.testing.assert_allclose(np.abs(y), d**-0.5, rtol=1e-6)


def test_the_largest_coordinate_obeys_hoeffdings_bound(rng):
    d = 1024
    for law in (rng.standard_normal((200, d)) ** 3, rng.standard_t(2, (200, d)), np.eye(d)[:50]):
        y = evenbits.randomized_hadamard(law, seed=11)
        ratio = np.abs(y).max(axis=1) / np.linalg.norm(law, axis=1)
        assert np.mean(ratio > 2 * np.sqrt(np.log(2 * d) / d)) <= 1 / d


def test_rotations_name_wrong_arguments():
    with pytest.raises(ValueError, match="rounds is 0"):
        evenbits.randomized_hadamard(np.zeros(4), seed=0, rounds=0)
    with pytest.raises(ValueError, match="seed is -1"):
        evenbits.randomized_hadamard(np.zeros(4), seed=-1)
    with pytest.raises(TypeError, match=r"seed is 0\.5"):
        evenbits.randomized_hadamard(np.zeros(4), seed=0.5)
    with pytest.raises(ValueError, match="length is 9"):
        evenbits.inverse_randomized_hadamard(np.zeros(8), seed=0, length=9)
    with pytest.raises(ValueError, match="order 10 is known"):
        evenbits.inverse_randomized_hadamard(np.zeros(10), seed=0)
