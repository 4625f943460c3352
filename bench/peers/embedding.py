"""Kashin and exact democratic embeddings."""

from __future__ import annotations

import numpy as np

import evenbits
from evenbits.embedding import Frame, level
from peers import Rows, Work, case


def numpy_transform(x: np.ndarray) -> np.ndarray:
    """Hadamard transform of rows, one level after the other."""
    n, h = x.shape[-1], 1
    while h < n:
        pairs = x.reshape(-1, n // (2 * h), 2, h)
        x = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2).reshape(-1, n)
        h *= 2
    return x


def numpy_stage(x: np.ndarray, signs: np.ndarray, iterations: int = 3, eta: float = 0.9, delta: float = 1.0) -> np.ndarray:
    """What TensorFlow Model Optimization's KashinHadamardEncodingStage computes: zeros at the end, the last step not clipped."""
    rows, d = x.shape
    residual = np.zeros((rows, signs.size), np.float32)
    residual[:, :d] = x
    scale = np.float32(signs.size**-0.5)
    limit = np.linalg.norm(x, axis=-1, keepdims=True) / np.float32(np.sqrt(delta * d))
    a = np.zeros_like(residual)
    for k in range(iterations):
        b = numpy_transform(residual * signs) * scale
        if k < iterations - 1:
            b = np.clip(b, -limit, limit)
        a += b
        residual = residual - numpy_transform(b) * scale * signs
        limit *= np.float32(eta)
    return a


@case
def kashin() -> Rows:
    """3 iterations at redundancy 2, Gaussian vectors. NumPy one vector a call, as the stage works, and 64 a call."""
    rng = np.random.default_rng(0)
    rows = []
    for d in (256, 1024, 4096):
        x = rng.standard_normal((64, d), dtype=np.float32)
        signs = rng.choice(np.float32([-1, 1]), 2 * d)
        ours = evenbits.democratic_embedding(x, redundancy=2, seed=0, iterations=3)
        levels = f"level {level(ours, x).mean():.2f}, stage's {level(numpy_stage(x, signs), x).mean():.2f}"
        works: dict[str, Work] = {
            "evenbits": lambda x=x: evenbits.democratic_embedding(x, redundancy=2, seed=0, iterations=3),
            "numpy, one a call": lambda x=x, s=signs: [numpy_stage(row[None], s) for row in x],
            "numpy, 64 a call": lambda x=x, s=signs: numpy_stage(x, s),
        }
        rows.append((f"Kashin embedding, d = {d} ({levels})", x.size, works))
    return rows


def numpy_threshold(v: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """The t of each row with sum max(|v| - t, 0) = excess, by sorting."""
    size = -np.sort(-np.abs(v))
    t = (np.cumsum(size, -1) - excess) / np.arange(1, v.shape[-1] + 1)
    last = (size > t).sum(-1, keepdims=True) - 1
    return np.maximum(np.take_along_axis(t, last, -1), 0)


def numpy_exact(x: np.ndarray, frame: Frame, iterations: int = 100) -> np.ndarray:
    """Douglas and Rachford's iteration for min |a|_inf subject to S a = x, all rows at once."""
    n, held = frame.n, frame.signs != 0
    target = np.zeros((len(x), n))
    target[:, frame.support] = x * frame.signs[frame.support]
    excess = np.linalg.norm(x, axis=-1, keepdims=True) * np.sqrt(n) / 16
    z = target
    a = numpy_transform(z) / np.sqrt(n)
    for _ in range(iterations):
        t = numpy_threshold(a, excess)
        p = numpy_transform(np.clip(a, -t, t)) / np.sqrt(n)
        z = z + 1.5 * np.where(held, target - p, p - z)
        a = numpy_transform(z) / np.sqrt(n)
    return numpy_transform(np.where(held, target, p)) / np.sqrt(n)


@case
def exact() -> Rows:
    """100 iterations at redundancy 2, Gaussian vectors; NumPy with an exact threshold."""
    rng = np.random.default_rng(0)
    rows = []
    for d in (256, 1024, 4096):
        x, frame = rng.standard_normal((4, d), dtype=np.float32), Frame.of_redundancy(d, 2, 0)
        ours = evenbits.democratic_embedding(x, redundancy=2, seed=0, solver="exact")
        levels = f"level {level(ours, x).mean():.3f}, NumPy's {level(numpy_exact(x, frame), x).mean():.3f}"
        works: dict[str, Work] = {
            "evenbits": lambda x=x: evenbits.democratic_embedding(x, redundancy=2, seed=0, solver="exact"),
            "numpy, float64": lambda x=x, f=frame: numpy_exact(x, f),
        }
        rows.append((f"exact embedding, d = {d} ({levels})", x.size, works))
    return rows
