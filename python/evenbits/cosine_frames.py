"""The cosine transform by scipy, and democratic embeddings in its frames. Their numbers may differ between machines."""

from __future__ import annotations

import numpy as np

from evenbits._arrays import Array


def cosine_transform(x: Array, inverse: bool = False) -> Array:
    """The orthonormal DCT-II of rows, or its inverse. Raises ModuleNotFoundError without scipy."""
    try:
        from scipy import fft
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('cosine transforms take scipy: pip install "evenbits[scipy]"') from error
    y: Array = (fft.idct if inverse else fft.dct)(x, norm="ortho", axis=-1) if x.size else x.copy()
    return y


def kashin(x: Array, support: Array, iterations: int, eta: float, delta: float, closing: bool) -> Array:
    """Lyubarskii and Vershynin's iteration; x is 0 off the support and has been multiplied by the signs of the frame."""
    residual, limit = x, _norm(x) / np.float32(np.sqrt(delta * x.shape[-1]))
    a = np.zeros_like(x)
    for _ in range(iterations):
        c = np.clip(cosine_transform(residual), -limit, limit)
        a += c
        residual = residual - np.where(support, cosine_transform(c, inverse=True), 0)
        limit *= np.float32(eta)
    return a + cosine_transform(residual) if closing else a


def democratic(x: Array, support: Array, iterations: int) -> Array:
    """Douglas and Rachford's iteration for min |a|_inf, as the kernel for Hadamard frames has it."""
    root = np.float32(np.sqrt(x.shape[-1]))
    norm = _norm(x)
    excess, limit = norm * root / 16, norm / root
    z, a = x, cosine_transform(x)
    for k in range(iterations):
        size = np.abs(a)
        for _ in range(2):  # Newton's steps to the zero of sum max(|a| - limit, 0) - excess
            above = size > limit
            count = above.sum(axis=-1, keepdims=True)
            over = np.where(above, size - limit, 0).sum(axis=-1, keepdims=True)
            limit = np.maximum(np.where(count > 0, limit + (over - excess) / np.maximum(count, 1), 0), 0).astype(np.float32)
        p = cosine_transform(np.clip(a, -limit, limit), inverse=True)
        z = np.where(support, x, p) if k + 1 == iterations else z + np.float32(1.5) * np.where(support, x - p, p - z)
        a = cosine_transform(z)
    return a


def _norm(x: Array) -> Array:
    norm: Array = np.sqrt(np.sum(x.astype(np.float64) ** 2, axis=-1, keepdims=True)).astype(np.float32)
    return norm
