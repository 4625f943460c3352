"""Entropy-coded trellises, plainly: the search one sequence at a time, the coder in Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SHARES, LEAST = 1 << 14, 1 << 16
CODES = [(0o5, 0o2), (0o13, 0o4), (0o23, 0o4), (0o45, 0o10), (0o103, 0o24), (0o235, 0o126), (0o515, 0o362)]


def following(order: int) -> Array:
    """The state after s, by the parity of the index: (states, 2)."""
    h0, h1 = CODES[order - 2]
    s = np.arange(1 << order)[:, None]
    table: Array = s >> 1 ^ np.where(s & 1, h0 >> 1, 0) ^ np.array([0, h1 >> 1])
    return table


def sequences(n: int, lanes: int) -> list[slice]:
    length = -(-n // lanes)
    return [slice(min(i * length, n), min((i + 1) * length, n)) for i in range(lanes)]


def search(x: Array, lanes: int, order: int, fineness: float, points: Array, prices: Array, magnitudes: Array) -> Array:
    """The symbols of n values: of the paths of least cost, of equal ones the one whose last parity is even."""
    symbols, after = np.empty(x.size, np.uint16), following(order)
    states, length, contexts = len(after), -(-x.size // lanes), points.shape[1] // 2
    before = np.zeros((states, 2), int)
    for s in range(states):
        for parity in (0, 1):
            before[after[s, parity], parity] = s
    for lane in sequences(x.size, lanes):
        size = np.zeros(-(-length // 64) * 64, np.float32)
        size[: lane.stop - lane.start] = np.abs(x[lane])
        bins = np.minimum(size * np.float32(fineness), np.float32(len(points) - 1)).astype(int)
        cost = np.full(states, 1e30, np.float32)
        cost[0] = 0
        parities = np.empty((size.size, states), int)
        for i, (u, b) in enumerate(zip(size, bins, strict=True)):
            e = u - points[b]
            each = e * e + prices[b]
            two = np.stack([cost[before[:, p]] + each[2 * (before[:, p] % contexts) + p] for p in (0, 1)])
            parities[i] = two[1] < two[0]
            cost = np.where(parities[i], two[1], two[0])
            if i % 64 == 63:
                cost = cost - cost[0]
        state = int(np.argmin(cost))
        for i in range(size.size - 1, -1, -1):
            parity = parities[i, state]
            state = int(before[state, parity])
            if i < lane.stop - lane.start:
                context = state % contexts
                k = int(magnitudes[bins[i], 2 * context + parity])
                symbols[lane.start + i] = contexts * (2 * k - (k > 0 and not np.signbit(x[lane.start + i]))) + context
    return symbols


def write(symbols: Array, lanes: int, shares: Array, starts: Array) -> bytes:
    """Every value of a sequence in turn, last first; words of 16 bits as they leave the states, which come last: backwards."""
    where, state, words = sequences(symbols.size, lanes), [LEAST] * lanes, []
    length = where[0].stop
    for i in range(length - 1, -1, -1):
        for lane in range(lanes - 1, -1, -1):
            if i < where[lane].stop - where[lane].start:
                symbol = symbols[where[lane].start + i]
                share, x = int(shares[symbol]), state[lane]
                if x >= share << 18:
                    words.append(x & 0xFFFF)
                    x >>= 16
                state[lane] = (x // share) * SHARES + x % share + int(starts[symbol])
    return b"".join(x.to_bytes(4, "little") for x in state) + b"".join(w.to_bytes(2, "little") for w in reversed(words))


def read(stream: bytes, n: int, lanes: int, order: int, shares: Array, starts: Array, slots: Array) -> Array | None:
    """The symbols, or None if these are not the bytes of n values."""
    where, after, at, contexts = sequences(n, lanes), following(order), 4 * lanes, slots.size // SHARES
    states = [int.from_bytes(stream[4 * i : 4 * i + 4], "little") for i in range(lanes)]
    now, symbols = [0] * lanes, np.zeros(n, np.uint16)
    if len(stream) < 4 * lanes:
        return None
    for i in range(where[0].stop):
        for lane in range(lanes):
            if i < where[lane].stop - where[lane].start:
                x, context = states[lane], now[lane] % contexts
                symbol = int(slots[context * SHARES + x % SHARES])
                x = int(shares[symbol]) * (x // SHARES) + x % SHARES - int(starts[symbol])
                if x < LEAST:
                    if at + 2 > len(stream):
                        return None
                    x, at = x << 16 | int.from_bytes(stream[at : at + 2], "little"), at + 2
                states[lane], symbols[where[lane].start + i] = x, symbol
                now[lane] = int(after[now[lane], (symbol // contexts + 1) // 2 % 2])
    return symbols if at == len(stream) and all(x == LEAST for x in states) else None
