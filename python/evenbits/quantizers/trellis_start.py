"""Where the search for the step of an entropy-coded trellis begins: found by searches on Gaussians.

With 2 contexts, and with more, at 4.
"""

from __future__ import annotations

from bisect import bisect_right

ROUNDS = {2: (3, 2), 4: (10, 3)}
"""Searches until a model has settled, nearly: from a guess, of few values, and from that on, or that of another step."""
RATES = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
Tables = dict[int, tuple[tuple[float, ...], tuple[float, ...]]]
STEPS: Tables = {
    2: ((2.8, 2.6, 1.0, 0.81, 0.68, 0.54, 0.405, 0.25, 0.128), (2.8, 2.6, 2.3, 1.0, 0.72, 0.54, 0.44, 0.245, 0.127)),
    4: ((1.65, 1.25, 1.3, 1.06, 0.8, 0.58, 0.45, 0.25, 0.128), (1.75, 1.58, 1.15, 0.94, 0.805, 0.587, 0.45, 0.25, 0.128)),
}
"""Of a Gaussian, at these bits a value: with 2 contexts and with more, and of each with 8 states or fewer and 128 or more."""
PRICES: Tables = {
    2: ((0.12, 0.12, 0.9, 0.9, 0.9, 0.7, 0.65, 0.5, 0.42), (0.12, 0.12, 0.14, 0.35, 0.45, 0.55, 0.5, 0.45, 0.42)),
    4: ((0.3, 0.5, 0.4, 0.5, 0.6, 0.6, 0.6, 0.5, 0.42), (0.3, 0.35, 0.55, 0.6, 0.6, 0.55, 0.5, 0.45, 0.42)),
}
"""Of a bit, in squares of the step, likewise."""
OTHERS = {2: (0.12, 0.45, 1.1), 4: (0.3, 0.5, 0.8)}
"""Tried for laws that may be others."""


def entry(tables: Tables, contexts: int, order: int, rate: float) -> float:
    """For the contexts, 2^order states and bits a value, between those that are told."""
    at, share = min(max(rate, RATES[0]), RATES[-1]), min(max((order - 3) / 4, 0), 1)
    table = [(1 - share) * a + share * b for a, b in zip(*tables[min(contexts, 4)], strict=True)]
    i = min(bisect_right(RATES, at), len(RATES) - 1)
    return table[i - 1] + (table[i] - table[i - 1]) * (at - RATES[i - 1]) / (RATES[i] - RATES[i - 1])
