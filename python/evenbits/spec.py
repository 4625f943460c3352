"""The spec: a small dictionary that says, with the planes, how an array is decoded. Format version 1.

Of digits on a grid, that is; a spec with the key "coding" is one of ``evenbits.codings``. Besides the planes that follow from
it, any array may have ``errors``, float32 (rows,): what |x - decode| does not exceed, for the x that was encoded.

| key | meaning |
|---|---|
| format | 1 |
| method, bits | who chose the codes, and the rate asked for, "p/q" bits a code; for people, not for decoding |
| shape, dtype | of the array: rows are its leading axes, d its last (1 row and d = 1 for a scalar), but see basis |
| embedding | absent, or {"kind": "hadamard", "frame" or "dct_frame", "length": n, "rounds": r}: y = R x or a with S a = x |
| seed, stream | of the embedding and of the kept coordinates |
| kept | absent, or k: only k coordinates a row, drawn at random, have a code, the others are 0 |
| codes | [M, u, p, w]: blocks of p digits in w bits, LSB first, u of them with M + 1 levels (see ``packing.Radix``) |
| grid | what a code means, see ``levels_of``; "pairs": a number in each of two bases, see below |
| scales | {"dtype": ..., "per": "tensor", "row" or a number of coordinates} |
| basis | {"transform": of ``orthogonal.KINDS``, "axes": [n, ...]}, for grid "pairs"; either may be absent |
| books | for grid "pairs": "row" or [i, j], absent for one of the tensor |
| portable | false where codes were chosen by, or decoding needs, what differs between machines (BLAS, scipy); else absent |

A key that is absent has its default: rounds 1, seed 0, stream 0, scales {"dtype": "float32", "per": "row"}; the spec counts
as side information, so it is short.
Planes: ``codes`` uint8 (rows, bytes a row, padded to 4); ``scales`` (rows, groups), or (1, 1) for the tensor; ``zeros`` of
the same shape, uint8 or uint16, for grid "affine"; ``levels`` float32 for grid "table", and two rows of them for "pairs".
A coordinate is y = (level[code] - zero) * scale, zero being 0 where there is no plane of that name.
With grid "pairs" the coordinates of a row are y = (u + P v) * scale, u the first row's levels of the codes and v the second
row's, both 0 where there is no code, P = H diag(signs) H / n with the signs of stream + SECOND, or another transform.
With "axes", two or more, the last axes of the array are one row, in the order of memory: d is the product of their lengths.
After the rotation, which goes along each of them, they have the lengths "axes", without one they have these from the start.
P goes along each of them as well; of matrices, X = R_1^T (U + P_1 V P_2^T) R_2, scaled. What they are made of begins at element
k 2^48 of the streams for axis k = 0, 1, ...
With "books" each row has levels of its own, in float16: "row": plane ``levels`` (rows, 2, levels); [i, j]: (rows, i + j), code c
meaning level c mod i of the first i and c // i of the others, the last pair for c >= i j; with upper digits [i, j, i', j'],
(rows, i + j + i' + j'), those of the lower ones first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenbits.codebooks import Law, lloyd_max, optimal_step
from evenbits.matrices import base_order
from evenbits.orthogonal import KINDS, PORTABLE, no_transform
from evenbits.packing import Radix
from evenbits.reader import FORMAT as FORMAT
from evenbits.reader import EncodedError as EncodedError
from evenbits.reader import Reader as Reader

UNIFORM = ("mid_rise", "end_point", "mid_tread", "affine")
LAWS = ("lloyd_max_gaussian", "lloyd_max_laplacian", "uniform_gaussian", "uniform_laplacian")
PAIRS = "pairs"
GRIDS = (*UNIFORM, *LAWS, "table", PAIRS)
SCALE_DTYPES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
VALUE_DTYPES = ("float64", "float32", "float16", "bfloat16")

KEPT = 1 << 62
"""Added to a stream's number to draw the kept coordinates."""
DITHER = 3 << 62
"""Added to a stream's number to draw the bits of stochastic rounding."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII alone: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plane_bytes(layout: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """Bytes of planes of these dtypes and shapes."""
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layout.values())


@lru_cache(maxsize=1024)
def levels_of(grid: str, count: int, of: int) -> NDArray[np.float32]:
    """What the codes 0 to count - 1 mean, in units of the scale; ``of`` is the level count that the scale belongs to.

    With i the code, M = count and m = ``of`` (M = m, or m + 1 for the upper digits of a block):
    mid_rise: (i - (M - 1)/2) m/M, cells of the range +-m/2 scale; end_point: (i - (M - 1)/2) (m - 1)/(M - 1);
    mid_tread: (i - floor(M/2)) floor((m - 1)/2) / floor((M - 1)/2), so that 0 is a level; affine: i (m - 1)/(M - 1);
    lloyd_max_*: the Lloyd-Max levels of the unit-variance law; uniform_*: its best uniform levels (mid_rise).
    """
    i = np.arange(count, dtype=np.float64)
    law: Law = "laplacian" if grid.endswith("_laplacian") else "gaussian"
    if grid.startswith("lloyd_max_"):
        table = lloyd_max(count, law)
    elif grid.startswith("uniform_"):
        table = (i - (count - 1) / 2) * optimal_step(count, law)
    elif grid == "mid_rise":
        table = (i - (count - 1) / 2) * of / count
    elif grid == "end_point":
        table = (i - (count - 1) / 2) * (of - 1) / (count - 1)
    elif grid == "mid_tread":
        table = (i - count // 2) * ((of - 1) // 2) / ((count - 1) // 2)
    else:
        table = i * (of - 1) / (count - 1)
    out = np.asarray(table, np.float32)
    out.flags.writeable = False
    return out


@dataclass(frozen=True)
class Embedding:
    """kind "hadamard": n = length coordinates of a random rotation; other kinds: coefficients in a Parseval frame."""

    kind: str
    length: int
    rounds: int = 1

    @property
    def framed(self) -> bool:
        return self.kind != "hadamard"


@dataclass(frozen=True)
class Spec:
    """A spec with its meaning checked. ``group`` is 0 for one scale a tensor, else the coordinates that share one."""

    method: str
    bits: Fraction
    shape: tuple[int, ...]
    dtype: str
    grid: str
    codes: Radix
    scale_dtype: str
    group: int
    kept: int
    embedding: Embedding | None = None
    seed: int = 0
    stream: int = 0
    transform: str = "involution"
    axes: tuple[int, ...] = ()
    """Lengths of a row's axes after the embedding, if it has several."""
    books: tuple[int, ...] | None = None
    """None: one codebook for the tensor. (): one a row. (i, j, ...): one a row, all pairs of i and j levels."""
    portable: bool = True

    @property
    def d(self) -> int:
        return math.prod(self.row_shape)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The last axes of the shape, which make a row."""
        return self.shape[-max(1, len(self.axes)) :]

    @property
    def rows(self) -> int:
        return math.prod(self.shape[: -max(1, len(self.axes))])

    @property
    def length(self) -> int:
        """Coordinates a row after the embedding."""
        return self.embedding.length if self.embedding else self.d

    @property
    def draws(self) -> bool:
        """Whether decoding draws random numbers."""
        return self.embedding is not None or self.kept < self.length or self.grid == PAIRS

    @property
    def cosines(self) -> bool:
        """Whether decoding takes transforms whose last bits differ between machines."""
        return self.transform not in PORTABLE or (self.embedding is not None and self.embedding.kind == "dct_frame")

    @property
    def top(self) -> int:
        """The greatest level count of a digit."""
        return self.codes.levels + (self.codes.upper > 0)

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """dtype and shape of every plane."""
        groups: tuple[int, ...] = (1, 1) if self.group == 0 else (self.rows, -(-self.kept // self.group))
        stored = "uint16" if self.scale_dtype == "bfloat16" else self.scale_dtype
        planes: dict[str, tuple[str, tuple[int, ...]]] = {
            "codes": ("uint8", (self.rows, self.codes.row_bytes(self.kept))),
            "scales": (stored, groups),
        }
        if self.grid == "affine":
            planes["zeros"] = ("uint8" if self.top <= 256 else "uint16", groups)
        if self.grid in ("table", PAIRS):
            levels = self.codes.levels + (self.top if self.codes.upper else 0)
            planes["levels"] = ("float32", (2, levels) if self.grid == PAIRS else (levels,))
            if self.books is not None:
                planes["levels"] = ("float16", (self.rows, sum(self.books)) if self.books else (self.rows, 2, levels))
        return planes

    def nbytes(self) -> int:
        """Bytes of all planes and of the canonical JSON of the spec itself."""
        return plane_bytes(self.layout()) + len(canonical_json(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        r = self.codes
        spec: dict[str, Any] = {
            "format": FORMAT,
            "method": self.method,
            "bits": str(self.bits),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "grid": self.grid,
            "codes": [r.levels, r.upper, r.per, r.bits],
        }
        per = "tensor" if self.group == 0 else "row" if self.group >= self.kept else self.group
        if (self.scale_dtype, per) != ("float32", "row"):
            spec["scales"] = {"dtype": self.scale_dtype, "per": per}
        if self.embedding:
            e = self.embedding
            spec["embedding"] = {"kind": e.kind, "length": e.length, **({"rounds": e.rounds} if e.rounds > 1 else {})}
        if self.kept < self.length:
            spec["kept"] = self.kept
        if self.draws:
            spec |= {key: value for key, value in (("seed", self.seed), ("stream", self.stream)) if value}
        basis = {"transform": self.transform} if self.transform != "involution" else {}
        if basis or self.axes:
            spec["basis"] = basis | ({"axes": list(self.axes)} if self.axes else {})
        if self.books is not None:
            spec["books"] = list(self.books) or "row"
        if not self.portable:
            spec["portable"] = False
        return spec

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Spec:
        """The spec of a dictionary. Raises EncodedError that names the key for anything it does not mean."""
        top = Reader(spec, "spec")
        top.format()
        method = top.text("method")
        bits = top.fraction("bits")
        shape = top.shape("shape")
        paired = spec.get("grid") == PAIRS
        basis = Reader(top.take("basis") if paired and "basis" in spec else {}, "spec.basis")
        transform = basis.choice("transform", tuple(KINDS), "involution")
        axes = basis.axes("axes", shape) if "axes" in basis.rest else ()
        basis.finish()
        d = math.prod(shape[-max(1, len(axes)) :])
        embedding = None
        if "embedding" in spec:
            e = Reader(top.take("embedding"), "spec.embedding")
            kind = e.choice("kind", ("hadamard", "frame", "dct_frame"))
            most = min((2 ** max(1, len(axes)) if kind == "hadamard" else 128) * max(d, 1), 2**32)  # beyond what is made
            embedding = Embedding(kind, e.integer("length", max(d, 1), most), e.integer("rounds", 1, 64, 1))
            e.finish()
            known = kind == "dct_frame" or all(base_order(n) for n in axes or (embedding.length,))
            if not known or (embedding.rounds != 1 and (axes or embedding.framed)):
                raise EncodedError(f"spec.embedding.length is {embedding.length}; no transform has that length")
        length = embedding.length if embedding else d
        if axes and (math.prod(axes) != length or (embedding is None and axes != shape[-len(axes) :])):
            raise EncodedError(f"spec.basis.axes is {list(axes)}, which does not make rows of {length} coordinates")
        kept = top.integer("kept", 1, length) if "kept" in spec else length
        draws = embedding is not None or kept < length or paired
        seed = top.integer("seed", 0, 2**64 - 1, 0) if draws else 0
        stream = top.integer("stream", 0, KEPT - 1, 0) if draws else 0
        codes = top.radix("codes")
        grid = top.choice("grid", GRIDS)
        s = Reader(top.take("scales") if "scales" in spec else {"dtype": "float32", "per": "row"}, "spec.scales")
        scale_dtype = s.choice("dtype", tuple(SCALE_DTYPES))
        per = s.take("per")
        s.finish()
        if per == "tensor":
            group = 0
        elif per == "row":
            group = max(kept, 1)
        elif isinstance(per, int) and not isinstance(per, bool) and 1 <= per < kept:
            group = per
        else:
            raise EncodedError(f"spec.scales.per is {per!r}; it must be 'tensor', 'row' or 1 to {kept - 1}")
        dtype = top.choice("dtype", VALUE_DTYPES)
        books = top.books("books", codes) if paired and "books" in spec else None
        portable = top.rest.pop("portable", True)
        top.finish()
        out = cls(method, bits, shape, dtype, grid, codes, scale_dtype, group, kept, embedding, seed, stream,
                  transform, axes, books, portable is True)  # fmt: skip
        if not isinstance(portable, bool) or (out.cosines and portable):
            raise EncodedError(f"spec.portable is {portable!r}; it must be false where there are cosine transforms")
        if not possible(grid, codes):
            raise EncodedError(f"spec.codes.levels is {codes.levels}, which grid {grid!r} does not have")
        if (embedding or grid == PAIRS) and group not in (0, max(kept, 1)):
            raise EncodedError("spec.scales.per must be 'row' or 'tensor' where there is an embedding")
        for n in (axes or (length,)) if paired and length else ():
            if why := no_transform(transform, n):
                raise EncodedError(f"spec.shape ends with {n}; no transform has that length, as grid 'pairs' needs: {why}")
        return out


def possible(grid: str, codes: Radix) -> bool:
    """Whether a grid exists with these level counts."""
    top = codes.levels + (codes.upper > 0)
    return (codes.levels >= 3 if grid == "mid_tread" else True) and (top <= 256 if grid in (*LAWS, "table", PAIRS) else True)
