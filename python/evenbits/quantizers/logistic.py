"""A linear decision between two classes, where none is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PENALTY = 1e-2
STEPS = 50


def linear_decision(
    x: NDArray[np.float64], sides: NDArray[np.float64], penalty: float = PENALTY
) -> tuple[NDArray[np.float64], float]:
    """w and b of logistic regression on rows x with sides 1 and -1: mean log(1 + exp(-side (w . x + b))) + penalty |w|^2 / 2.

    By Newton's method, each step halved while the loss rises.
    """
    a = np.column_stack([x, np.ones(len(x))])
    ridge = np.full(a.shape[1], penalty)
    ridge[-1] = 0
    v = np.zeros(a.shape[1])

    def loss(v: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sides * (a @ v)).mean() + (ridge * v * v).sum() / 2)

    now = loss(v)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(np.clip(sides * (a @ v), -500, 500)))  # of the wrong side
        gradient = -(a.T @ (sides * p)) / len(a) + ridge * v
        curvature = (a.T * (p * (1 - p))) @ a / len(a) + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(v - size * step) > now and size > 1e-6:
            size /= 2
        before, v = now, v - size * step
        now = loss(v)
        if before - now < 1e-10:
            break
    return v[:-1], float(v[-1])
