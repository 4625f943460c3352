"""Encoded arrays and their decoding, which needs the planes and the spec and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _fused
from evenbits._arrays import (
    LARGEST,
    NORMAL,
    Array,
    as_array,
    as_floats,
    bfloat16_bits,
    contiguous,
    greatest,
    output,
    peak_exponent,
    real,
    require_finite,
    widened,
    workers_of,
)
from evenbits._certificate import distances
from evenbits._chunks import CHUNK, for_row_chunks
from evenbits.codings import Coding, parse
from evenbits.codings.streams import default_floats
from evenbits.meaning import Meaning
from evenbits.spec import EncodedError, Spec, canonical_json

__all__ = ["Encoded", "EncodedError", "canonical_json", "decode", "validate"]

ERRORS = "errors"
"""The plane of a certificate: float32, a number a row, which |x - decode| does not exceed. No spec tells of it."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A few-bit array: ``planes`` (named arrays) and ``spec`` (a small dictionary that says how to decode them)."""

    planes: dict[str, Array]
    spec: dict[str, Any] = field(repr=False)

    @cached_property
    def _meaning(self) -> Spec | Coding:
        return parse(self.spec)

    @property
    def _spec(self) -> Spec:
        """The spec of digits on a grid; a TypeError for other codings."""
        if isinstance(self._meaning, Spec):
            return self._meaning
        raise TypeError(f"method {self.method!r} has no code for each value; decode it first")

    @property
    def method(self) -> str:
        """The quantizer that chose the codes."""
        return self._meaning.method

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that ``decode`` gives."""
        return self._meaning.shape

    @property
    def dtype(self) -> str:
        """Its dtype: float64, float32, float16 or bfloat16."""
        return self._meaning.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all planes and of the canonical JSON of the spec."""
        return sum(plane.nbytes for plane in self.planes.values()) + len(canonical_json(self.spec))

    @property
    def bits_per_value(self) -> float:
        """8 nbytes / number of values: everything counted. Infinite for an empty array."""
        size = math.prod(self.shape)
        return 8 * self.nbytes / size if size else math.inf

    def decode(self, *, bits: float | None = None, out: Array | None = None, workers: int = 1) -> Array:
        """``evenbits.decode(self)``."""
        return decode(self, bits=bits, out=out, workers=workers)

    def cut(self, bits: float) -> Encoded:
        """The beginning of a stream of successive refinement, or the first layers of several: at most ``bits`` bits a value,
        everything counted.

        Raises ValueError for other methods, whose codes have no such order, and if not even the spec and scales fit.
        """
        coding, most, values = self._meaning, real(bits, "bits", 0, math.inf), math.prod(self.shape)
        if not isinstance(coding, Coding) or not coding.ordered:
            raise ValueError(f"bits is {bits}; method {self.method!r} has no stream that can be cut")
        validate(self)
        allowed = int(min(most * values / 8, 2**62)) if values else 2**62
        shorter, planes = coding.cut({name: plane for name, plane in self.planes.items() if name != ERRORS}, allowed)
        return Encoded(planes, shorter.to_dict())

    def certified(self, x: ArrayLike) -> Encoded:
        """The same codes of the array x with a certificate, 4 bytes a row: who has these planes alone knows how far x is.

        Decoding gives the same numbers on every machine, so that they are compared with x here; distances are rounded up, by
        less than 2^-22 of their size where float32 is normal. Of bfloat16 they hold with ml_dtypes and without it.
        Raises ValueError for other shapes, NaN and infinity, distances beyond float32, and for frames of cosines, whose
        decoding differs a little between machines.
        """
        if isinstance(self._meaning, Spec) and self._meaning.cosines:
            raise ValueError("certificate: transforms of cosines are decoded a little differently by every machine; take another")
        a, spec = self._alike(x), self._meaning
        require_finite(as_floats(a))
        rows, found = a.reshape(spec.rows, spec.d), np.zeros(spec.rows, np.float32)
        halves = spec.dtype == "bfloat16"
        with default_floats():
            for begin, y in _decoded(self, np.dtype(np.float32) if halves else None):
                part = rows[begin : begin + len(y)]
                own = distances(part, y)
                if halves:
                    own = np.maximum(own, distances(part, widened(bfloat16_bits(within(y, spec.dtype)))))
                found[begin : begin + len(y)] = own
        if not np.isfinite(found).all():
            raise ValueError(f"certificate: the error of row {int(np.isinf(found).argmax())} is beyond float32; scale x down")
        return Encoded({**self.planes, ERRORS: found}, self.spec)

    def certified_error(self) -> Array:
        """Bounds of |x - decode| for every row of the x that was encoded, of shape (leading axes), by its certificate.

        Raises ValueError if there is none.
        """
        if ERRORS not in self.planes:
            raise ValueError("the codes have no certificate; pass certificate=True to quantize, or take Encoded.certified(x)")
        validate(self)
        spec = self._meaning
        leading = self.shape[: -max(1, len(spec.axes) if isinstance(spec, Spec) else 1)]
        return self.planes[ERRORS].reshape(leading)

    def _alike(self, x: ArrayLike) -> Array:
        """x as an array of this shape."""
        a = as_array(x)
        if a.shape != self.shape:
            raise ValueError(f"x has shape {a.shape}; the encoded array has {self.shape}")
        return a

    def error(self, x: ArrayLike) -> float:
        """Relative error |x - decode| / |x| (Frobenius norms) against the array x; 0 if both are 0."""
        a = self._alike(x)
        top = greatest(a)
        exponent = -math.frexp(top)[1] if top > 0 and not 1 / NORMAL < top < NORMAL else 0
        rows, norm, residual = a.reshape(self._meaning.rows, self._meaning.d), 0.0, 0.0
        for begin, y in _decoded(self):
            x = np.ldexp(rows[begin : begin + len(y)].astype(np.float64), exponent).reshape(-1)
            difference = x - np.ldexp(y.astype(np.float64), exponent).reshape(-1)
            norm, residual = norm + float(x @ x), residual + float(difference @ difference)
        return math.sqrt(residual / norm) if norm > 0 else (0.0 if residual == 0 else math.inf)


def validate(encoded: Encoded) -> None:
    """Raise EncodedError, naming the plane or key, unless spec and planes fit together."""
    spec = encoded._meaning
    layout = spec.layout()
    if not isinstance(encoded.planes, Mapping):
        raise EncodedError("planes is not a dictionary")
    if ERRORS in encoded.planes:
        layout = {**layout, ERRORS: ("float32", (spec.rows,))}
    for name in encoded.planes:
        if name not in layout:
            raise EncodedError(f"plane {name!r} is unknown to method {spec.method!r}; it has {', '.join(layout)}")
    for name, (dtype, shape) in layout.items():
        plane = encoded.planes.get(name)
        if plane is None:
            raise EncodedError(f"plane {name!r} is missing")
        if not isinstance(plane, np.ndarray) or plane.dtype != dtype or plane.shape != shape:
            found = f"{plane.dtype}{plane.shape}" if isinstance(plane, np.ndarray) else type(plane).__name__
            raise EncodedError(f"plane {name!r} is {found}; the spec says {dtype}{shape}")
    for name, plane in encoded.planes.items():
        halves = name == "scales" and isinstance(spec, Spec) and spec.scale_dtype == "bfloat16"
        numbers = widened(plane) if halves else plane
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            raise EncodedError(f"plane {name!r} holds a number that is not finite")
    if (encoded.planes.get(ERRORS, np.zeros(0)) < 0).any():
        raise EncodedError(f"plane {ERRORS!r} holds a number below 0")
    if isinstance(spec, Coding):
        spec.check(encoded.planes)


def stored_scales(plane: Array, dtype: str) -> Array:
    """A plane of scales as floats: bfloat16 is kept as its bits."""
    return widened(plane) if dtype == "bfloat16" else plane


def decode(encoded: Encoded, *, bits: float | None = None, out: Array | None = None, workers: int = 1) -> Array:
    """The array that an ``Encoded`` stands for.

    Unpacks the codes, looks the levels up, scales, and undoes the embedding, a few rows at a time: memory beyond the
    result stays bounded. dtype and shape as encoded (bfloat16 needs ml_dtypes, and comes as float32 without it).
    ``out``: a C-contiguous array of that shape and dtype to fill; else a new one. ``bits``: of successive refinement, what
    the first so many bits a value stand for, see ``Encoded.cut``. Raises EncodedError, naming the plane or key, if planes
    and spec do not fit together.
    """
    if not isinstance(encoded, Encoded):
        raise TypeError(f"encoded is a {type(encoded).__name__}; pass what quantize or load gave")
    encoded = encoded if bits is None else encoded.cut(bits)
    workers = workers_of(workers)
    restore = _restore(encoded)
    spec = restore.spec
    out = output(out, spec.shape, value_dtype(spec.dtype))
    if out.size:
        restore.fill_all(out.reshape(spec.rows, spec.d), workers)
    return out


def _decoded(encoded: Encoded, dtype: np.dtype[Any] | None = None) -> Iterator[tuple[int, Array]]:
    """What ``decode`` gives, or would in another dtype, a few rows at a time, each with the number of the first."""
    restore = _restore(encoded)
    spec = restore.spec
    turned = isinstance(spec, Coding) and spec.turned
    step = max(spec.rows, 1) if turned else max(1, CHUNK // max(spec.length, 1))
    for begin in range(0, spec.rows if spec.d else 0, step):
        out = np.empty((min(step, spec.rows - begin), spec.d), dtype or value_dtype(spec.dtype))
        restore.fill_all(out, 1) if turned else restore.fill(begin, begin + len(out), out)
        yield begin, out


def value_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name in a spec."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        return np.dtype(np.float32)
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


class _Other:
    """Decodes rows of another coding."""

    def __init__(self, encoded: Encoded, spec: Coding) -> None:
        self.spec = spec
        planes = {name: contiguous(plane) for name, plane in encoded.planes.items()}
        self.write = spec.writer(planes) if spec.dtype == "float32" else None
        self.rows = spec.decoder(planes) if self.write is None else None

    def fill_all(self, out: Array, workers: int) -> None:
        whole = out.T if self.spec.turned else out
        for_row_chunks(len(whole), self.spec.length, workers, lambda begin, end: self.fill(begin, end, whole[begin:end]))

    def fill(self, begin: int, end: int, out: Array) -> None:
        if self.write:
            self.write(begin, end, out)
            return
        assert self.rows is not None
        with np.errstate(over="ignore", under="ignore"):
            out[:] = within(self.rows(begin, end), self.spec.dtype)


def _restore(encoded: Encoded) -> _Restore | _Other:
    validate(encoded)
    spec = encoded._meaning
    return _Restore(encoded) if isinstance(spec, Spec) else _Other(encoded, spec)


class _Restore:
    """Decodes rows."""

    def __init__(self, encoded: Encoded) -> None:
        self.spec = spec = encoded._spec
        self.planes = planes = {name: contiguous(plane) for name, plane in encoded.planes.items()}
        self.meaning = Meaning(spec, planes.get("levels"))
        self.rotated = _fused.Rotated(spec, self.meaning.lower) if _fused.applies(spec) else None

    def fill_all(self, out: Array, workers: int) -> None:
        """All rows, to ``out``."""
        left = [(0, len(out))]
        if self.rotated and out.dtype == np.float32:
            left = self.rotated.decode(self.planes["codes"], self.planes["scales"], out, workers)
        for span in left:
            self._fill_span(*span, out, workers)

    def _fill_span(self, first: int, last: int, out: Array, workers: int) -> None:
        def work(begin: int, end: int) -> None:
            self.fill(first + begin, first + end, out[first + begin : first + end])

        for_row_chunks(last - first, self.spec.length, workers, work)

    def fill(self, begin: int, end: int, out: Array) -> None:
        """Rows begin to end, to ``out``."""
        with np.errstate(over="ignore", under="ignore"):
            self._fill(begin, end, out)

    def _fill(self, begin: int, end: int, out: Array) -> None:
        done = 0
        if self.rotated:
            y = out if out.dtype == np.float32 else np.empty(out.shape, np.float32)
            left = self.rotated.decode(self.planes["codes"][begin:end], self.planes["scales"][begin:end], y, 1)
            done = left[0][0] if left else len(out)
            if y is not out:
                out[:done] = within(y[:done], self.spec.dtype)
        if done < len(out):
            out[done:] = within(self.rows(begin + done, end), self.spec.dtype)

    def within(self, y: Array) -> Array:
        """Levels may lie a little beyond the largest number of the dtype: of float16 they do, or of float32 in huge rows."""
        top = LARGEST[self.spec.dtype]
        return np.clip(y, -top, top) if y.dtype == np.float64 or self.spec.dtype in ("float16", "bfloat16") else y

    def _groups(self, name: str, begin: int, end: int) -> Array:
        plane = self.planes[name]
        if self.spec.group == 0:
            return np.repeat(plane, end - begin, axis=0)
        return plane[begin:end]

    def rows(self, begin: int, end: int) -> Array:
        spec = self.spec
        scale = stored_scales(self._groups("scales", begin, end), spec.scale_dtype)
        mantissa, exponent = split_range(scale)
        zero = self._groups("zeros", begin, end).astype(np.float32) if spec.grid == "affine" else None
        codes = self.meaning.unpack(self.planes["codes"][begin:end])
        y = self.meaning.look_up(codes, mantissa.astype(np.float32), zero, begin)
        y = self.meaning.un_embed(self.meaning.scatter(y))
        if exponent is not None:
            y = np.ldexp(y.astype(np.float64), exponent)
        return y


def within(y: Array, dtype: str) -> Array:
    """Levels may lie a little beyond the largest number of the dtype: of float16 they do, or of float32 in huge rows."""
    top = LARGEST[dtype]
    return np.clip(y, -top, top) if y.dtype == np.float64 or dtype in ("float16", "bfloat16") else y


def split_range(scale: Array) -> tuple[Array, Array | None]:
    """Scales of rows as mantissa * 2^exponent, exponent a column, or None if every row is of ordinary size."""
    exponent = peak_exponent(np.max(np.abs(scale), axis=-1, keepdims=True))
    if exponent is None:
        return scale, None
    return np.ldexp(scale.astype(np.float64), -exponent), exponent


def as_matrix(x: Array) -> Array:
    """An array as rows of its last axis; a scalar as one row of one."""
    d = x.shape[-1] if x.ndim else 1
    return x.reshape(math.prod(x.shape[:-1]), d)
