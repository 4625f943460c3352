from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from evenbits._arrays import Array, integer
from evenbits.packing import Radix
from evenbits.quantizers.base import FITS, ROUNDINGS, NoSuchRateError, Quantizer, choice
from evenbits.spec import Spec


class Uniform(Quantizer):
    """Equal steps on the values as they are.

    range: "absmax" (default; symmetric, up to the largest magnitude), "min_max" (affine, with an integer zero point, so
    that 0 is a level) or "optimal" (the one of 64 symmetric clipping levels that has the least squared error).
    grid: "mid_tread" (default where there are 3 levels: 0 is a level and the outermost lie on the range, so that one large
    value does not push the small ones of its row away from 0), "mid_rise" (levels +-1/2, +-3/2, ... steps, the outermost
    cells end at the range: less error where values fill the range) or "end_point" (the outermost levels lie on the range;
    the default of stochastic rounding).
    rounding: "nearest" or "stochastic". Stochastic codes are unbiased inside the range, hence with "absmax" and "min_max".
    per: "row" (default), "tensor", or a number of consecutive values that share a scale.
    fit: "range" keeps the scale that the range gives; "least_squares" refits it to the codes; "unbiased" (stochastic
    rounding without clipping) makes up for the values that rates below 1 bit leave out.
    """

    method = "uniform"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        range: str = "absmax",
        grid: str | None = None,
        rounding: str = "nearest",
        per: str | int = "row",
        fit: str = "range",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.range = choice(range, "range", ("absmax", "min_max", "optimal"))
        self.rounding = choice(rounding, "rounding", ROUNDINGS)
        self.fit = choice(fit, "fit", FITS)
        self.group = group_of(per)
        self.searches = self.range == "optimal"
        if self.range == "min_max":
            if grid is not None:
                raise ValueError(f"grid is {grid!r}; range='min_max' has a grid of its own")
            self.grid = "affine"
        else:
            usual = "end_point" if rounding == "stochastic" else "mid_tread"
            self.grid = choice(grid or usual, "grid", ("mid_rise", "end_point", "mid_tread"))
        self.usual = grid is None
        if self.rounding == "stochastic" and self.grid == "mid_rise":
            raise ValueError("grid is 'mid_rise', without levels at the ends of the range; stochastic rounding takes another")
        if self.rounding == "stochastic" and self.fit == "least_squares":
            raise ValueError("fit is 'least_squares'; stochastic rounding takes 'range' or 'unbiased'")
        if self.searches and self.fit == "unbiased":
            raise ValueError("fit is 'unbiased'; range='optimal' clips, which is not")
        if self.rounding == "nearest" and self.fit == "unbiased":
            raise ValueError("fit is 'unbiased'; without a rotation only stochastic rounding is unbiased")

    def scales(self, measure: Mapping[str, Array], spec: Spec) -> tuple[Array, Array | None]:
        if self.range != "min_max":
            return super().scales(measure, spec)
        top = spec.codes.levels - 1
        least, greatest = np.minimum(measure["least"], 0), np.maximum(measure["greatest"], 0)
        step = (greatest - least) / top
        zero = np.rint(np.divide(-least, step, out=np.zeros_like(step), where=step > 0))
        if self.rounding == "nearest":
            return step, zero
        # Rounding the zero point moved the range, by half a step at most: widen the step so that both ends lie inside.
        zero = np.clip(zero, least < 0, top - (greatest > 0))
        below = np.divide(-least, zero, out=np.zeros_like(step), where=zero > 0)
        above = np.divide(greatest, top - zero, out=np.zeros_like(step), where=zero < top)
        return np.maximum(step, np.maximum(below, above)), zero

    def grid_for(self, codes: Radix) -> str:
        if self.grid == "affine" and self.rounding == "stochastic" and codes.levels < 3:
            raise NoSuchRateError(f"bits is {float(self.bits):g}; an unbiased zero point and both ends take 3 levels")
        return "mid_rise" if self.grid == "mid_tread" and self.usual and codes.levels < 3 else self.grid


def group_of(per: str | int) -> int:
    """``per`` as coordinates a scale: -1 a row, 0 the tensor."""
    if isinstance(per, str):
        return {"row": -1, "tensor": 0}[choice(per, "per", ("row", "tensor"))]
    return integer(per, "per", 1, 2**40)
