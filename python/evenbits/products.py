"""Products with packed weights, which are never decoded as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits import _core
from evenbits._arrays import FLOAT32, Array, as_array, as_floats, is_half, output, require_finite, workers_of
from evenbits._chunks import for_row_chunks
from evenbits.codings.bit_shift import BitShift
from evenbits.encoded import Encoded, split_range, stored_scales, validate
from evenbits.meaning import Meaning
from evenbits.spec import Spec
from evenbits.transforms import randomized_hadamard

__all__ = ["Linear", "linear"]


def linear(x: ArrayLike, weights: Encoded, *, activations: str = "float32", out: Array | None = None, workers: int = 1) -> Array:
    """Product with encoded weights: y = x W^T, W being what ``decode(weights)`` gives.

    x: (..., n); weights of shape (..., n), their leading axes the rows -> (..., rows), as ``torch.nn.functional.linear`` has
    it. W is multiplied as it is packed: memory beyond the result and x stays bounded. Weights in a rotation or a frame need
    no decoding of it: <W, x> = <codes, R x>, so that x is transformed, once. Of rows u + P v the product is the sum of two,
    <u, R x> + <v, P^T R x>, and each of them has the errors that follow.

    activations="float32": float32 arithmetic in one order, the same bytes for every instruction set and number of workers.
    With u = 2^-24, y differs from the exact product by (n / 128 + 16) u |W| |x| at most (elements' magnitudes; a rotation
    adds (4 log2 n + 16) u |W|_2 |x|_2); NaN and infinity spread.

    activations="int8": x (R x) is rounded to 8 bits, each cell of 32 elements (of 8 where a row has several groups that are no
    multiples of 32) to multiples of its largest magnitude m / 127, so by m / 254 at most; sums of a cell are exact integers.
    Levels on an even grid are kept; others, Lloyd-Max levels and tables, are rounded to 256 even steps from the least to the
    greatest, by range / 510 in units of the scale at most. NaN and infinity in x raise ValueError. Measured on Gaussian x and
    weights, root mean square in units of |W|_2 |x|_2 / sqrt(n): 0.5 % for x (0.4 % in cells of 8), and for Lloyd-Max levels of
    2, 4 and 8 bits another 0.3, 0.7 and 1.1 %.

    Fast are plain codes of 1 to 8 bits with a scale a row, a tensor or a multiple of 8 values: all that integer ``bits`` up
    to 8 give, and rates below 1 bit; and, at about a fourth of that speed, ``trellis`` at any rate, where "int8" rounds x
    alone, in cells of 32. Other rates, and more bits, are decoded a few rows at a time (and "int8" rounds x alone).
    dtype: float32; float16 and bfloat16 x gives its own dtype, rounded once; float64 and integers are rounded to float32 first.
    Raises ValueError, with the shapes, for axes that do not fit, and what ``decode`` raises. ``Linear`` checks weights once.
    """
    return Linear(weights)(x, activations=activations, out=out, workers=workers)


class Linear:
    """``linear`` with the same weights again and again: they are checked once, and must not change afterwards."""

    def __init__(self, weights: Encoded) -> None:
        if not isinstance(weights, Encoded):
            raise TypeError(f"weights is a {type(weights).__name__}; pass what quantize or load gave")
        validate(weights)
        if not weights.shape:
            raise ValueError("weights has shape (); it must have one axis or more")
        planes = {name: np.require(plane, None, ("C", "A", "E")) for name, plane in weights.planes.items()}
        coding = weights._meaning
        self.matrix = _Trellis(coding, planes) if isinstance(coding, BitShift) else _Digits(weights._spec, planes)
        self.scale, self.exponent = self.matrix.scale, self.matrix.exponent
        self.shape, self.d, self.rows = weights.shape, coding.d, coding.rows

    def __call__(self, x: ArrayLike, *, activations: str = "float32", out: Array | None = None, workers: int = 1) -> Array:
        """As ``linear``."""
        if activations not in ("float32", "int8"):
            raise ValueError(f"activations is {activations!r}; known are 'float32', 'int8'")
        workers = workers_of(workers)
        a = as_array(x)
        narrow = is_half(a.dtype)
        dtype = a.dtype.newbyteorder("=") if narrow else FLOAT32
        if a.ndim == 0 or a.shape[-1] != self.d:
            raise ValueError(f"x has shape {a.shape} and weights {self.shape}; their last axes must have the same length")
        y = output(out, a.shape[:-1] + self.shape[:-1], dtype)
        a = as_floats(a, double=False)
        if not y.size or not self.d:
            y[...] = 0
            return y
        if out is not None and np.may_share_memory(y, a):
            raise ValueError("out overlaps x; pass other memory")
        whole = activations == "int8"
        if whole:
            require_finite(a, workers=workers)
        columns = self.matrix.columns(a.reshape(-1, self.d), workers)
        if whole and self.matrix.draws and not all(np.isfinite(c).all() for c in columns):
            raise ValueError("x is too large: its rotation is beyond float32; scale it down")
        result = np.empty((len(columns[0]), self.rows), np.float32) if narrow else y.reshape(-1, self.rows)
        self.matrix.multiply(columns, whole, result, workers)
        if self.exponent is not None:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                result[...] = np.ldexp(result.astype(np.float64), self.exponent[:, 0])
        if narrow:
            with np.errstate(over="ignore"):
                np.copyto(y, result.reshape(y.shape), casting="unsafe")
        return y


class _Trellis:
    """Rows of a bit-shift trellis."""

    def __init__(self, coding: BitShift, planes: dict[str, Array]) -> None:
        self.coding, self.codes, self.draws = coding, planes["codes"], coding.rotated
        scale, self.exponent = _scales(planes["scales"])
        self.scale = np.ascontiguousarray(scale, np.float32)

    def columns(self, x: Array, workers: int) -> list[Array]:
        """x as the rows' values see it."""
        coding = self.coding
        if coding.rotated:
            x = randomized_hadamard(_padded(x, coding.coordinates), seed=coding.seed, stream=coding.stream, workers=workers)
        return [_padded(x, coding.length)]

    def multiply(self, columns: list[Array], whole: bool, result: Array, workers: int) -> None:
        coding, x = self.coding, _rounded(columns[0], 32) if whole else columns[0]
        rate = coding.bits.numerator, coding.bits.denominator
        _core.bit_shift_product(self.codes, self.scale, coding.length, coding.memory, *rate, x, result, workers)


class _Digits:
    """Rows of digits on a grid."""

    def __init__(self, spec: Spec, planes: dict[str, Array]) -> None:
        self.spec = spec
        if spec.axes:
            raise ValueError(f"weights is an array of {len(spec.axes)} axes as one row; decode it first, or take form='vector'")
        self.meaning = Meaning(spec, planes.get("levels"))
        self.codes, self.draws = planes["codes"], spec.draws
        scale, self.exponent = _scales(stored_scales(planes["scales"], spec.scale_dtype))
        self.scale = self._by_row(scale.astype(np.float32))
        self.zero = self._by_row(planes["zeros"].astype(np.float32)) if spec.grid == "affine" else None
        self.rows = spec.rows
        paired = self.meaning.paired
        self.packed = self.meaning.plain and spec.codes.bits <= 8 and spec.books is None
        self.width = spec.kept if self.packed or not paired else spec.length
        self.tables = [np.zeros(256, np.float32) for _ in range(2 if paired and self.packed else 1)]
        if self.packed:
            for table, levels in zip(self.tables, self.meaning.books(0, 1)[0] if paired else [self.meaning.lower], strict=True):
                table[: levels.size] = levels
        group = spec.group or spec.kept
        self.cell = 32 if group % 32 == 0 or group >= spec.kept else 8
        self.bytewise = self.packed and (group % 8 == 0 or group >= spec.kept)
        self.units = [_units(table[: 1 << spec.codes.bits]) for table in self.tables] if self.bytewise else []

    def _by_row(self, parameter: Array) -> Array:
        rows = np.repeat(parameter, self.spec.rows, axis=0) if self.spec.group == 0 else parameter
        return np.ascontiguousarray(rows)

    def multiply(self, columns: list[Array], whole: bool, result: Array, workers: int) -> None:
        """Products of the rows with the columns."""
        spec = self.spec
        if whole and not self.units:
            columns = [_rounded(c, self.cell) for c in columns]
        if not self.packed:
            for_row_chunks(self.rows, spec.kept, workers, lambda begin, end: self._chunk(begin, end, columns[0], result))
            return
        for k, part in enumerate(columns):
            term = result if k == 0 else np.empty_like(result)
            if whole and self.units:
                n, bits = spec.kept, spec.codes.bits
                fixed = self.codes, self.rows, n, bits, *self.units[k], self.scale, self.zero, spec.group or n
                _core.product_bytes(*fixed, part, term, 0, workers)
            else:
                self._product(self.tables[k], self.codes, spec.codes.bits, self.scale, self.zero, part, term, 0, workers)
            if k:
                with np.errstate(over="ignore", invalid="ignore"):
                    result += term

    def columns(self, x: Array, workers: int) -> list[Array]:
        """x as the coordinates that have codes see it: <W, x> = <coordinates of W, this>; in both bases where there are two."""
        spec, e = self.spec, self.spec.embedding
        if e is not None and e.framed:
            x = self.meaning.frame.analyse(x, workers)
        elif e is not None:
            x = randomized_hadamard(_padded(x, spec.length), seed=spec.seed, stream=spec.stream, rounds=e.rounds, workers=workers)
        x = x if self.meaning.kept is None or self.meaning.paired else np.ascontiguousarray(x[:, self.meaning.kept])
        return self._in_both_bases(x)

    def _in_both_bases(self, x: Array) -> list[Array]:
        """For u and for v, <u + P v, x> = <u, x> + <v, P^T x>, where W is multiplied packed."""
        if not self.meaning.paired or not self.packed:
            return [x]
        with np.errstate(over="ignore", invalid="ignore"):
            both, kept = [x, self.meaning.transform.adjoint(x)], self.meaning.kept
        return both if kept is None else [np.ascontiguousarray(c[:, kept]) for c in both]

    def _chunk(self, begin: int, end: int, columns: Array, result: Array) -> None:
        codes = self.meaning.unpack(self.codes[begin:end])
        zero = None if self.zero is None else self.zero[begin:end]
        numbers = self.meaning.look_up(codes, self.scale[begin:end], zero, begin)
        one = np.ones((end - begin, 1), np.float32)
        self._product(self.tables[0], numbers, 32, one, None, columns, result, begin, 1, self.width)

    def _product(
        self,
        table: NDArray[np.float32],
        codes: Array,
        bits: int,
        scale: NDArray[np.float32],
        zero: NDArray[np.float32] | None,
        columns: Array,
        result: Array,
        first: int,
        workers: int,
        group: int = 0,
    ) -> None:
        n = self.width
        group = group or self.spec.group or n
        _core.product(codes, len(codes), n, bits, table, scale, zero, group, columns, result, first, workers)


def _scales(scale: Array) -> tuple[Array, Array | None]:
    return split_range(scale) if scale.size else (scale, None)


def _padded(x: Array, length: int) -> Array:
    """With zeros at the end of each row."""
    return np.pad(x, [(0, 0), (0, length - x.shape[1])]) if length > x.shape[1] else x


def _units(levels: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float, float]:
    """(unit, center, step) with levels = step * (unit - center), about, and whole units from 0 to 255."""
    wide, unit = levels.astype(np.float64), np.zeros(256, np.uint8)
    low, high, count = float(wide.min()), float(wide.max()), levels.size
    if low == high:
        return unit, -low, 1.0
    even = np.linspace(low, high, count)
    top = count - 1 if np.abs(wide - even).max() <= 2.0**-20 * np.abs(wide).max() else 255
    step = (high - low) / top
    unit[:count] = np.rint((wide - low) / step)
    return unit, -low / step, step


def _rounded(x: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """x as product_bytes rounds it."""
    cells = np.zeros((len(x), -(-x.shape[1] // cell) * cell), np.float32)
    cells[:, : x.shape[1]] = x
    cells = cells.reshape(len(x), -1, cell)
    most = np.abs(cells).max(axis=-1, keepdims=True)
    counts = most >= 2.0**-100
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=counts)
    cells = np.rint(cells * inverse) * np.where(counts, most / np.float32(127), np.float32(0))
    return np.ascontiguousarray(cells.reshape(len(x), -1)[:, : x.shape[1]])
