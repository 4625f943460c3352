import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits import _core
from evenbits.reference import trellis as reference
from evenbits.trellis import FINENESS, MACHINES, Model, fitted, guessed, lanes_of, log2, shares_of

U8 = np.uint8


def model_of(rng, top, contexts=2):
    lengths = np.minimum(np.arange(top + 1) * 12 + rng.integers(0, 9, (contexts, top + 1)), 255).astype(U8)
    return Model(lengths, rng.integers(-20, 40, (contexts, top + 1)).astype(np.int8))


def searched(x, lanes, order, model, price):
    tables, symbols = model.candidates(price), np.empty(x.size, np.uint16)
    counts, sums = np.zeros(model.symbols, np.uint64), np.zeros(model.symbols)
    _core.trellis_search(x, lanes, order, model.contexts, FINENESS, *tables, symbols, counts, sums)
    return symbols, counts, sums, tables


def written(symbols, lanes, order, model, room=None):
    out = np.zeros(4 * symbols.size + 64 if room is None else room, U8)
    size = _core.trellis_write(symbols, lanes, order, model.shares, model.starts, out)
    return size, out[:size].copy()


def read(stream, n, lanes, order, model):
    y = np.full(n, np.nan, np.float32)
    return _core.trellis_read(stream, lanes, order, model.contexts, model.shares, model.starts, model.slots, model.values, y), y


@pytest.mark.parametrize("order", range(2, 9))
@pytest.mark.parametrize(("n", "lanes"), [(1, 1), (63, 1), (130, 2), (200, 3), (1030, 16), (17, 16), (5, 16)])
def test_searches_and_bytes_are_the_references(isa, order, n, lanes, rng):
    if order > 4 and n > 200:
        n = 150
    model = model_of(rng, 6, min(2 << n % 3, 1 << order))
    x = (3 * rng.standard_normal(n)).astype(np.float32)
    x[:: 1 + n // 5] = [0.0, -0.0, 1e9, -1e4, 14.9, 3.0][: len(x[:: 1 + n // 5])]
    symbols, counts, sums, tables = searched(x, lanes, order, model, 0.5)
    np.testing.assert_array_equal(symbols, reference.search(x, lanes, order, FINENESS, *tables))
    np.testing.assert_array_equal(counts, np.bincount(symbols, minlength=model.symbols))
    np.testing.assert_array_equal(sums, np.bincount(symbols, x.astype(np.float64), model.symbols))
    size, stream = written(symbols, lanes, order, model)
    assert stream.tobytes() == reference.write(symbols, lanes, model.shares, model.starts)
    whole, y = read(stream, n, lanes, order, model)
    assert whole
    np.testing.assert_array_equal(y, model.values[symbols])
    found = reference.read(stream.tobytes(), n, lanes, order, model.shares, model.starts, model.slots)
    np.testing.assert_array_equal(found, symbols)
    for room in (0, 3, size - 1):
        assert written(symbols, lanes, order, model, room)[0] == room + 1
    assert written(symbols, lanes, order, model, size)[0] == size


@pytest.mark.parametrize("order", MACHINES)
def test_every_state_is_reached_from_two_that_share_a_quantizer(order):
    after = reference.following(order)
    odd, one = MACHINES[order]
    s = np.arange(1 << order)
    np.testing.assert_array_equal(after[:, 1], s >> 1 ^ odd * (s & 1) ^ one)
    for parity in (0, 1):
        assert len(np.unique(after[:, parity])) == 1 << order
        np.testing.assert_array_equal(after[:, parity] >> (order - 1), s & 1)


def test_a_search_costs_no_more_than_any_path(rng):
    """Of all 2^n paths of a short row."""
    model, n, after = model_of(rng, 3), 8, reference.following(3)
    for _ in range(5):
        x = (2 * rng.standard_normal(n)).astype(np.float32)
        symbols, _, _, (points, prices, magnitudes) = searched(x, 1, 3, model, 0.3)
        bins = np.minimum(np.abs(x) * FINENESS, len(points) - 1).astype(int)
        cost = (np.abs(x)[:, None] - points[bins]) ** 2 + prices[bins]

        def total(parities, cost=cost):
            state, out = 0, 0.0
            for i, parity in enumerate(parities):
                out += cost[i, 2 * (state & 1) + parity]
                state = after[state, parity]
            return out

        best = min(total([p >> i & 1 for i in range(n)]) for p in range(1 << n))
        assert total([(int(s) // 2 + 1) // 2 % 2 for s in symbols]) == pytest.approx(best, rel=1e-5)
        del magnitudes


def test_bytes_are_the_entropy(rng):
    x = rng.standard_normal(100_000).astype(np.float32) * 2
    model = guessed(np.bincount((2 * np.abs(x)).astype(int)), 5)
    for _ in range(3):
        symbols, counts, sums, _ = searched(x, 16, 3, model, 0.6)
        model = fitted(counts, sums)
    size, _ = written(symbols, 16, 3, model)
    bits = float((counts * model.by_symbol(model.bits)).sum())
    entropy = 0.0
    for q in (0, 1):
        c = counts[q::2][counts[q::2] > 0].astype(float)
        entropy -= (c * np.log2(c / c.sum())).sum()
    assert entropy <= bits < 1.001 * entropy
    assert abs(8 * size - bits) < 16 * 28


@given(st.lists(st.integers(0, 255), min_size=1, max_size=1024))
@settings(max_examples=30, deadline=None)
def test_shares_add_up(lengths):
    shares = shares_of(np.array(lengths, U8))
    assert shares.min() >= 1 and shares[0] + 2 * shares[1:].sum() == 1 << 14


def test_logarithms_are_right():
    x = np.concatenate([np.arange(1.0, 20000), np.geomspace(1e-9, 1e9, 1000)])
    np.testing.assert_allclose(log2(x), np.log2(x), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 400), st.integers(1, 16), st.integers(2, 8), st.sampled_from([2, 4]))
def test_any_bytes_decode_to_something_or_are_refused(data, n, lanes, order, contexts):
    model = model_of(np.random.default_rng(0), 5, contexts)
    whole, y = read(np.frombuffer(data, U8), n, lanes, order, model)
    found = reference.read(data, n, lanes, order, model.shares, model.starts, model.slots)
    assert whole == (found is not None) and np.isin(y, model.values).all()


def test_a_block_has_as_many_sequences_as_its_length_says():
    assert [lanes_of(n) for n in (1, 4095, 8191, 8192, 1 << 16, 1 << 18)] == [1, 1, 1, 2, 16, 16]


def test_the_extension_refuses_what_could_touch_foreign_memory(rng):
    model = model_of(rng, 3)
    x = np.ones(8, np.float32)
    symbols, counts, sums = np.zeros(8, np.uint16), np.zeros(14, np.uint64), np.zeros(14)
    points, prices, magnitudes = model.candidates(0.5)

    def search(**change):
        arguments = {"x": x, "lanes": 1, "order": 3, "contexts": 2, "fineness": 8.0, "points": points, "prices": prices}
        arguments |= {"magnitudes": magnitudes, "symbols": symbols, "counts": counts, "sums": sums}
        _core.trellis_search(**(arguments | change))

    search()
    for change, message in [
        ({"lanes": 0}, "1 to 16 lanes"),
        ({"lanes": 17}, "1 to 16 lanes"),
        ({"order": 1}, "order of 2 to 8"),
        ({"order": 9}, "order of 2 to 8"),
        ({"contexts": 3}, "2, 4 or 8 contexts"),
        ({"contexts": 8, "order": 2}, "as many as states"),
        ({"contexts": 4}, "beyond what counts can hold"),
        ({"fineness": math.nan}, "positive size"),
        ({"x": x[:0]}, "there must be values"),
        ({"prices": prices[:1].copy()}, "prices must have"),
        ({"symbols": symbols[:7].copy()}, "symbols must have 8"),
        ({"sums": np.zeros(13)}, "sums must have 14"),
        ({"counts": counts[:13].copy(), "sums": np.zeros(13)}, "beyond what counts can hold"),
    ]:
        with pytest.raises(ValueError, match=message):
            search(**change)
    out, y = np.zeros(99, U8), np.zeros(8, np.float32)
    shares, starts, slots, values = model.shares, model.starts, model.slots, model.values
    with pytest.raises(ValueError, match="one that shares lacks"):
        _core.trellis_write(symbols + np.uint16(14), 1, 3, shares, starts, out)
    with pytest.raises(ValueError, match="shares must be positive"):
        _core.trellis_write(symbols, 1, 3, shares * np.uint32(0), starts, out)
    with pytest.raises(ValueError, match="shares must be positive"):
        _core.trellis_write(symbols, 1, 3, shares, starts + np.uint32(1 << 14), out)
    with pytest.raises(ValueError, match="slots must have 32768"):
        _core.trellis_read(out, 1, 3, 2, shares, starts, slots[:-1].copy(), values, y)
    with pytest.raises(ValueError, match="symbol that shares lacks"):
        _core.trellis_read(out, 1, 3, 2, shares, starts, np.full_like(slots, 14), values, y)
    with pytest.raises(ValueError, match="values must have 14"):
        _core.trellis_read(out, 1, 3, 2, shares, starts, slots, values[:-1].copy(), y)
