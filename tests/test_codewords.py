import numpy as np
import pytest

from evenbits import _core
from evenbits.codewords import Codewords, group_sums, half_squares, products
from evenbits.codings.residual import padded
from evenbits.reference import codewords as reference


@pytest.mark.parametrize(("count", "n"), [(1, 1), (2, 3), (16, 5), (17, 8), (100, 31), (255, 2), (256, 7), (32, 0)])
def test_the_nearest_codeword_is_that_of_the_reference(isa, rng, count, n):
    words = rng.standard_normal((count, n)).astype(np.float32)
    words[count // 2 :] = words[: count - count // 2]  # equal ones: the first counts
    rows = rng.standard_normal((37, n + 3)).astype(np.float32)
    search = Codewords(words)
    expected = reference.nearest_codeword(rows[:, :n], search.columns, search.half)
    np.testing.assert_array_equal(search.nearest(np.ascontiguousarray(rows[:, :n])), expected if n else 0 * expected)
    left = rows.copy()
    np.testing.assert_array_equal(search.take(left, workers=2), expected)
    rows[:, :n] -= words[expected]
    np.testing.assert_array_equal(left, rows)


def test_half_squares_are_what_scores_begin_with(rng):
    words = rng.standard_normal((9, 20)).astype(np.float32)
    np.testing.assert_allclose(half_squares(words), np.sum(words.astype(float) ** 2, axis=1) / 2, rtol=1e-7)
    assert half_squares(words[:, :0]).shape == (9,)


@pytest.mark.parametrize("n", [1, 16, 63, 64, 65, 200])
def test_sums_of_codewords_are_those_of_the_reference(isa, rng, n):
    books = [rng.standard_normal((1 << k, w)).astype(np.float32) for k, w in ((8, 70), (3, 1), (8, 200), (1, 0), (5, 64))]
    codes = np.stack([rng.integers(0, len(b), 23) for b in books]).astype(np.uint8)
    widths = np.array([-(-b.shape[1] // 64) * 64 for b in books], np.uint64)
    table = np.concatenate([padded(b) for b in books])
    y = np.full((21, n), np.nan, np.float32)
    _core.sum_codewords(codes, 1, 22, table, widths, np.array([8, 3, 8, 1, 5], np.uint64), n, y, 2)
    np.testing.assert_array_equal(y, reference.sum_codewords(codes[:, 1:22], books, n))


@pytest.mark.parametrize("n", [1, 2, 4, 7, 8, 17])
def test_sums_and_products_are_those_of_the_reference(isa, rng, n):
    x = rng.standard_normal((50, n))
    group = rng.integers(0, 6, 50)
    np.testing.assert_array_equal(group_sums(x, group, 7), reference.group_sums(x, group, 7))
    for m in (1, 3, 8, 9):
        matrices = rng.standard_normal((6, n, m))
        np.testing.assert_array_equal(products(x, matrices, group, workers=2), reference.indexed_product(x, group, matrices))
        np.testing.assert_array_equal(products(x, matrices[0]), reference.indexed_product(x, 0 * group, matrices[:1]))


@pytest.mark.parametrize("n", [0, 2, 16, 62, 64, 66, 256, 1000])
def test_bytes_go_through_the_table_that_their_neighbour_chooses(isa, rng, n):
    x = rng.integers(0, 256, n).astype(np.uint8)
    x[rng.random(n) < 0.4] = 0
    narrow, wide = rng.integers(0, 256, (2, 256)).astype(np.uint8)
    y = np.empty_like(x)
    _core.windows(x, narrow, None, y, 1)
    np.testing.assert_array_equal(y, reference.windows(x, narrow, None))
    _core.windows(x, narrow, wide, y, 2)
    np.testing.assert_array_equal(y, reference.windows(x, narrow, wide))
    if n:
        _core.windows(x[1:], narrow, None, y[1:], 1)  # an odd number of them
        np.testing.assert_array_equal(y[1:], narrow[x[1:]])


def test_the_extension_refuses_what_would_leave_its_memory():
    f32, f64, u8, u32 = (lambda *s, t=t: np.zeros(s, t) for t in (np.float32, np.float64, np.uint8, np.uint32))
    u64 = np.array([64], np.uint64)
    for call in (
        lambda: _core.nearest_codeword(f32(4, 3), 3, f32(3, 16), f32(15), False, u8(4), 1),
        lambda: _core.nearest_codeword(f32(4, 3), 3, f32(4, 16), f32(16), False, u8(4), 1),
        lambda: _core.nearest_codeword(f32(4, 3), 3, f32(3, 16), f32(16), False, u8(3), 1),
        lambda: _core.nearest_codeword(f32(4, 3), 3, f32(3, 272), f32(272), False, u8(4), 1),
        lambda: _core.sum_codewords(u8(1, 5), 0, 6, f32(128), u64, np.array([1], np.uint64), 3, f32(6, 3), 1),
        lambda: _core.sum_codewords(u8(1, 5) + 2, 0, 5, f32(128), u64, np.array([1], np.uint64), 3, f32(5, 3), 1),
        lambda: _core.sum_codewords(u8(1, 5), 0, 5, f32(127), u64, np.array([1], np.uint64), 3, f32(5, 3), 1),
        lambda: _core.sum_codewords(u8(1, 5), 0, 5, f32(128), u64 - 1, np.array([1], np.uint64), 3, f32(5, 3), 1),
        lambda: _core.sum_codewords(u8(1, 5), 0, 5, f32(128), u64, np.array([9], np.uint64), 3, f32(5, 3), 1),
        lambda: _core.group_sums(f64(4, 2), 2, u32(4) + 3, f64(3, 2)),
        lambda: _core.group_sums(f64(4, 2), 2, u32(3), f64(3, 2)),
        lambda: _core.indexed_product(f64(4, 2), 2, u32(4) + 1, f64(2, 3), 3, f64(4, 3), 1),
        lambda: _core.indexed_product(f64(4, 2), 2, None, f64(2, 3), 3, f64(4, 2), 1),
        lambda: _core.windows(u8(3), u8(256), u8(256), u8(3), 1),
        lambda: _core.windows(u8(4), u8(255), None, u8(4), 1),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        _core.group_sums(f32(4, 2), 2, u32(4), f64(3, 2))
