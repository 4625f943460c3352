from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import Array, greatest, integer, real
from evenbits.encoded import Encoded
from evenbits.quantizers.base import Quantizer, choice, finite
from evenbits.quantizers.clipping import clipping_level
from evenbits.quantizers.powell import minimize
from evenbits.quantizers.walk import absmax_step
from evenbits.spec import Spec

Floats = NDArray[np.float64]
POWERS = tuple(2 + 2 * i / 9 for i in range(10))
IMPOSSIBLE = 1e300
WHOLE = (1.0, 2.0, 3.0, 4.0)


class LossAware(Quantizer):
    """Equal steps from -clip to clip, one clip a tensor, without a level at 0: at the clip of the least error in a power.

    p: of the power (default 3; 2 is the squared error, greater ones clip less); for 1, 2, 3 and 4 the same bytes on every
    machine.
    clip: where to clip, instead; ``search_clips`` finds those of several tensors together by what a network's loss is.
    fit: "range" (default) keeps the clip, "least_squares" refits the scale to the codes.
    Source: Nahshan et al., "Loss aware post-training quantization", Machine Learning 110 (2021), arXiv 1911.07190.
    """

    method = "loss_aware"
    grid = "end_point"
    group = 0

    def __init__(
        self,
        bits: float | Fraction,
        *,
        p: float = 3.0,
        clip: float | None = None,
        fit: str = "range",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.p = real(p, "p", 0.5, 16)
        self.clip = None if clip is None else real(clip, "clip", 1e-300, 1e300)
        self.fit = choice(fit, "fit", ("range", "least_squares"))
        self.portable = self.p in WHOLE or clip is not None

    _share = 1.0
    """The clip in units of the tensor's greatest magnitude."""

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        a, _, workers = finite(x, workers)
        found, peak = copy(self), greatest(a)
        if peak > 0 and self.clip is not None:
            found._share = self.clip / peak
        elif peak > 0:
            levels = self.spec(a.shape).codes.levels
            ordinary = np.ldexp(a.astype(np.float64), -int(np.frexp(peak)[1])).astype(np.float32)
            found._share = clipping_level(ordinary, levels, p=self.p) / float(np.abs(ordinary).max())
        return super(LossAware, found).encode(x, workers=workers)

    def scales(self, measure: Mapping[str, Array], spec: Spec) -> tuple[Array, Array | None]:
        peak = np.maximum(-measure["least"], measure["greatest"])
        return absmax_step(spec.grid, spec.codes.levels, self._share * peak), None


@dataclass(frozen=True, eq=False)
class Clipped:
    """A tensor to be clipped, or samples of one: ``levels`` equal steps from -clip to clip, or from 0."""

    values: Array
    levels: int
    signed: bool = True

    def clip(self, p: float) -> float:
        """The clip of the least mean |x - Q(x)|^p; for infinity the widest."""
        return self.widest if p == math.inf else clipping_level(self.values, self.levels, p=p, signed=self.signed) or 1.0

    @property
    def widest(self) -> float:
        """The clip that leaves all values inside."""
        return float(np.abs(self.values).max(initial=0)) or 1.0


@dataclass(frozen=True, eq=False)
class ClipSearch:
    """What ``search_clips`` found. ``loss`` is at ``clips``; ``start`` and ``start_loss`` are before the joint search.

    ``p``: the power it started from. ``powers`` and ``power_losses``: those tried, and the vertex of their parabola, if it was.
    ``trace``: the loss at the start and after each round. ``evaluations``: how often the loss was asked for.
    """

    clips: Floats
    loss: float
    start: Floats
    start_loss: float
    p: float
    powers: tuple[float, ...]
    power_losses: tuple[float, ...]
    trace: tuple[float, ...] = field(repr=False)
    evaluations: int = 0


def search_clips(
    tensors: Sequence[Clipped],
    loss: Callable[[Floats], float],
    *,
    powers: Sequence[float] = POWERS,
    iterations: int = 2,
) -> ClipSearch:
    """The clips of several tensors, all together, at which the loss of a network is low.

    For each power all clips are those of the least error in it; a parabola through (power, loss) names another power to try, if
    it opens upwards and its vertex lies among them. Powell's method starts from the best of all these: the result is never worse.
    loss: a function of one clip a tensor, all of them positive; what is not a finite number counts as very bad.
    powers: infinity stands for no clipping at all. iterations: rounds of Powell's method, some 15 evaluations a tensor each; 0
    for none.
    Source: Nahshan et al., "Loss aware post-training quantization", Machine Learning 110 (2021), arXiv 1911.07190.
    """
    many = list(tensors)
    if not many:
        raise ValueError("tensors is empty; there is nothing to clip")
    rounds = integer(iterations, "iterations", 0, 1000)
    tried = [real(p, "powers", 0.5, math.inf) for p in powers]
    if not tried:
        raise ValueError("powers is empty; there must be one to start from")
    evaluations = 0

    def f(clips: Floats) -> float:
        nonlocal evaluations
        evaluations += 1
        value = float(loss(clips))
        return value if np.isfinite(value) else IMPOSSIBLE

    def clips_of(p: float) -> Floats:
        return np.array([tensor.clip(p) for tensor in many])

    starts = [clips_of(p) for p in tried]
    losses = [f(start) for start in starts]
    vertex = parabola_vertex(tried, losses)
    if vertex is not None:
        tried.append(vertex)
        starts.append(clips_of(vertex))
        losses.append(f(starts[-1]))
    best = int(np.argmin(losses))
    clips, least, trace = starts[best], losses[best], [losses[best]]
    if rounds:
        clips, least, trace = minimize(f, starts[best], iterations=rounds)
    return ClipSearch(
        clips, least, starts[best], losses[best], tried[best], tuple(tried), tuple(losses), tuple(trace), evaluations
    )


def parabola_vertex(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Where the least-squares parabola has its minimum, unless it has none inside the range of x."""
    if len(set(x)) < 3:
        return None
    a, b, _ = np.polyfit(np.asarray(x, np.float64), np.asarray(y, np.float64), 2)
    if not a > 0:
        return None
    vertex = float(-b / (2 * a))
    return vertex if min(x) < vertex < max(x) else None


def bias_shift(weights: Array, quantized: Array, inputs: NDArray[np.floating]) -> Floats:
    """(W - Q) E x for rows of inputs x: what the bias of a layer takes so that its mean output stays what it was.

    With W (..., outputs, inputs), one for each of several groups, the inputs have these leading axes, too.
    """
    moved = np.asarray(weights, np.float64) - np.asarray(quantized, np.float64)
    mean = np.asarray(inputs, np.float64).reshape(*moved.shape[:-2], -1, moved.shape[-1]).mean(axis=-2)
    shift: Floats = (moved @ mean[..., None])[..., 0]
    return shift
