"""Convolutions in many small groups: the recursions of all groups at once, with a step for every neuron."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenbits._arrays import Array
from evenbits.encoded import Encoded
from evenbits.networks.seen import Seen
from evenbits.path_following import Calibration, Rounding, add_gram, multiply_add
from evenbits.quantizers.error_feedback import ErrorFeedback, Nearest, unit_factor
from evenbits.quantizers.path_following import PathFollowing
from evenbits.quantizers.path_layer import CLIPS, radius_of_rows
from evenbits.random import random_bits
from evenbits.spec import DITHER

MOST = 64
"""Inputs a group up to which all groups are worked on at once."""


def applies(quantizer: PathFollowing, seen: Seen) -> bool:
    """Whether the groups are small, and the options those that are known here."""
    groups, _, inputs = seen.layer.grouped.shape
    usual = quantizer.sparsity is None and quantizer.step is None and quantizer.alphabet != "infinite"
    own = quantizer.radius_of == "weights" and isinstance(quantizer.order, int)
    return groups > 1 and inputs <= MOST and usual and own


def encode_groups(quantizer: PathFollowing, seen: Seen, workers: int) -> tuple[Encoded, int]:
    """The codes of a layer, and how many were clamped: as group by group with per="row", but each neuron has its own clipping."""
    groups = _Groups.of(quantizer, seen)
    clips = CLIPS if isinstance(quantizer.clip, str) else (quantizer.clip,)
    best = least = clamped = None
    for clip in clips:
        found, beyond = groups.rounded(clip)
        error = groups.error(found)
        if best is None or least is None or clamped is None:
            best, least, clamped = found, error, beyond
            continue
        better = error < least
        best[better], least[better], clamped[better] = found[better], error[better], beyond[better]
        groups.clip[better] = clip
    assert best is not None and clamped is not None
    values, n = groups.restored(best), best.shape[1]
    step = groups.radius * np.where(groups.clip > 0, groups.clip, clips[0]) / groups.top
    alphabet, steps = quantizer.alphabet, np.where(step > 0, step, 1.0)
    plain = Nearest(quantizer.bits, step=steps, alphabet=alphabet, per="row", scale_dtype=quantizer.scale_dtype)
    data = Calibration(n, held_out=0, portable=seen.portable).update(np.zeros((1, n)))
    encoded = plain.encode(values, data, workers=workers)
    return Encoded(encoded.planes, encoded.spec | {"method": quantizer.method}), int(clamped.sum())


@dataclass
class _Groups:
    """Rows are the neurons of all groups, columns in the order in which they are rounded."""

    w: Array
    start: Array
    gram: Array
    live: Array
    held: tuple[Array, Array]
    order: Array
    radius: Array
    clip: Array
    top: int
    rounding: Rounding
    bits: Array | None

    @classmethod
    def of(cls, quantizer: PathFollowing, seen: Seen) -> _Groups:
        grouped = seen.layer.grouped.astype(np.float64)
        groups, neurons, n = grouped.shape
        gram = np.stack([data.gram for data in seen.groups])
        cross = np.stack([data.gram if data.cross is None else data.cross for data in seen.groups])
        few, mixed = _held(seen) or (gram, cross)
        if isinstance(quantizer, ErrorFeedback):
            mean = _sum(np.einsum("gii->gi", gram)) / n
            gram = gram + np.where(mean > 0, quantizer.damping * mean, 1.0)[:, None, None] * np.eye(n)
        size = np.einsum("gii->gi", gram)
        order = np.argsort(-size, axis=1, kind="stable") if quantizer.columns == "norm" else np.tile(np.arange(n), (groups, 1))
        gram, cross, few, mixed = (np.repeat(_placed(a, order), neurons, axis=0) for a in (gram, cross, few, mixed))
        order = np.repeat(order, neurons, axis=0)
        w = np.take_along_axis(grouped.reshape(-1, n), order, axis=1)
        size = np.einsum("rii->ri", gram)
        live = (size > 0) & (size >= quantizer.dead * _sum(size)[:, None] / n)
        start = w
        if isinstance(quantizer, Nearest):
            live = np.zeros_like(live)
        elif isinstance(quantizer, ErrorFeedback):
            gram = unit_factor(gram)
        else:
            start = _aligned(w, cross, gram, live, int(quantizer.order))
        top, rounding = quantizer.levels // 2, quantizer.levels_around_zero
        bits = None
        if quantizer.rounding == "stochastic":
            bits = random_bits(quantizer.seed, quantizer.stream + DITHER, w.size).reshape(w.shape)
        radius = radius_of_rows(quantizer, w)
        return cls(w, start, gram, live, (few, mixed), order, radius, np.zeros(len(w)), top, rounding, bits)

    def rounded(self, clip: float) -> tuple[Array, Array]:
        step = np.maximum(clip * self.radius / self.top, 1e-30)
        return _recursion(self.start, None, self.gram, self.live, step, self.rounding, self.bits)

    def error(self, q: Array) -> Array:
        """Of each neuron's output, squared, but for what does not depend on q."""
        few, mixed = self.held
        return _sum((_times(q, few) - 2 * _times(self.w, mixed)) * q)

    def restored(self, q: Array) -> Array:
        out = np.empty_like(q)
        np.put_along_axis(out, self.order, q, axis=1)
        return out


def _placed(gram: Array, order: Array) -> Array:
    rows = np.arange(len(gram))[:, None, None]
    placed: Array = gram[rows, order[:, :, None], order[:, None, :]]
    return placed


def _held(seen: Seen) -> tuple[Array, Array] | None:
    """Y^T Y and X^T Y of the rows held out, group by group."""
    if not seen.held:
        return None
    groups, _, n = seen.layer.grouped.shape
    few, mixed = np.zeros((2, groups, n, n))
    for x, y in seen.held:
        for i in range(groups):
            add_gram(y[i], few[i])
            multiply_add(x[i].T, y[i], mixed[i])
    return few, mixed


def _sum(values: Array) -> Array:
    """Of every row, one after the other on every machine."""
    return np.asarray(np.add.accumulate(values, axis=1)[:, -1])


def _times(rows: Array, matrices: Array) -> Array:
    """Each row times its matrix, in one order."""
    out = np.zeros_like(rows)
    for s in range(rows.shape[1]):
        out += rows[:, s, None] * matrices[:, s]
    return out


def _aligned(w: Array, cross: Array, gram: Array, live: Array, order: int) -> Array:
    """Weights whose outputs on the quantized inputs are near those of the full network, as ``PathFollowing`` has them."""
    base = _times(w, np.triu(cross))
    v, _ = _recursion(np.where(live, 0.0, w), base, gram, live)
    target = _times(w, cross)
    for _ in range(order - 1):
        change, _ = _recursion(np.zeros_like(v), target - _times(v, gram), gram, live)
        v = v + change
    return v


def _recursion(
    w: Array,
    base: Array | None,
    gram: Array,
    live: Array,
    step: Array | None = None,
    rounding: Rounding | None = None,
    bits: Array | None = None,
) -> tuple[Array, Array]:
    """``evenbits.path_following.recursion`` with a Gram matrix for every row; gives numbers, not codes."""
    z, out, clamped = np.zeros_like(w), np.zeros_like(w), np.zeros(len(w), np.int64)
    for t in range(w.shape[1]):
        v = -_sum(z[:, :t] * gram[:, :t, t]) if t else np.zeros(len(w))
        if base is not None:
            v += base[:, t]
        a = w[:, t] + np.where(live[:, t], v / np.where(live[:, t], gram[:, t, t], 1), 0)
        if rounding is None or step is None:
            z[:, t] = out[:, t] = a
            continue
        _, out[:, t], beyond = rounding.apply(a, step, None if bits is None else bits[:, t])
        z[:, t] = out[:, t] - w[:, t]
        clamped += beyond
    return out, clamped
