"""Powell's method: a minimum of a function of few positive numbers, without derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RATIO = 0.6180339887498949
STEPS = (-0.4, -0.15, 0.15, 0.4)
"""Where a line is looked at first, in units of the direction, which is a coordinate's own size at the beginning."""
NARROWINGS = 6


def minimize(f: Callable[[Floats], float], start: Floats, *, iterations: int = 2) -> tuple[Floats, float, list[float]]:
    """The best point met, its value, and the values after each round; the start's come first, and none is greater than it.

    A round searches along each direction in turn, beginning with the coordinates, and puts the way it went as a whole in
    the place of the direction that gained most. Points with a number that is not positive are never asked for.
    Source: Powell, "An efficient method for finding the minimum of a function of several variables", 1964.
    """
    x, value = start.copy(), f(start)
    directions = [np.where(np.arange(len(x)) == i, np.where(x > 0, x, 1.0), 0.0) for i in range(len(x))]
    trace = [value]
    for _ in range(iterations):
        before, first = x, value
        gains = []
        for direction in directions:
            found, least = along(f, x, value, direction)
            gains.append(value - least)
            x, value = found, least
        whole = x - before
        if value < first and len(x) > 1:
            directions[int(np.argmax(gains))] = whole
            x, value = along(f, x, value, whole)
        trace.append(value)
        if not value < first:
            break
    return x, value, trace


def along(f: Callable[[Floats], float], x: Floats, value: float, direction: Floats) -> tuple[Floats, float]:
    """The best point met on a line through x: a few places, then the golden section around the best of them."""
    met = {0.0: value}

    def at(t: float) -> float:
        if t not in met:
            y = x + t * direction
            met[t] = f(y) if (y > 0).all() else np.inf
        return met[t]

    for t in STEPS:
        at(t)
    while (t := min(met, key=lambda t: met[t])) in (min(met), max(met)) and abs(t) < 8:  # downhill at an end
        at(2 * t)
    order = sorted(met)
    place = order.index(t)
    low, high = order[max(0, place - 1)], order[min(len(order) - 1, place + 1)]
    golden_section(at, low, high, NARROWINGS)
    best = min(met, key=lambda t: met[t])
    return x + best * direction, met[best]


def golden_section(f: Callable[[float], float], low: float, high: float, rounds: int) -> None:
    """Ask ``f``, which remembers what it was asked, at places ever nearer to its least value between low and high."""
    left, right = high - RATIO * (high - low), low + RATIO * (high - low)
    for _ in range(rounds):
        if f(left) <= f(right):
            high, right = right, left
            left = high - RATIO * (high - low)
        else:
            low, left = left, right
            right = low + RATIO * (high - low)
