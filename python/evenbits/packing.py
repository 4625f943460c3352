"""Codes of few bits, or digits of any level count, as dense bit strings.

Every layout here is **least significant bit first**. ``numpy.packbits`` is most significant bit first unless it is told
``bitorder="little"``, and then equals :func:`pack` at one bit a code, up to the padding of rows to 4 bytes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits import _core
from evenbits._arrays import Array, as_array, contiguous, integer, output, workers_of


def _padded(bits: int) -> int:
    return (bits + 31) // 32 * 4


def _dtype_of(levels: int) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if levels <= 256 else np.uint16


def row_bytes(count: int, bits: int) -> int:
    """Bytes of a packed row of ``count`` codes: ceil(count * bits / 32) * 4."""
    return _padded(integer(count, "count", 0, 2**56) * integer(bits, "bits", 1, 16))


@dataclass(frozen=True)
class Radix:
    """Blocks of ``per`` digits in ``bits`` bits: ``upper`` digits with levels + 1 values, the rest with ``levels``.

    A block is the number sum of digit_j * place_j, the upper digits first and least significant, with
    (levels + 1)^upper * levels^(per - upper) <= 2^bits. The codes of a row of n digits come in the order
    [the upper digits of all blocks | the other digits of all blocks]. Where n is no multiple of ``per``, the last block
    holds n mod per digits, min(upper, n mod per) of them upper ones, in as few bits as it needs.

    Raises ValueError unless 2 <= levels <= 65536 (65535 with upper digits), 0 <= upper < per <= 64, bits <= 64 and the
    digits fit.
    """

    levels: int
    upper: int
    per: int
    bits: int

    def __post_init__(self) -> None:
        for name, low, high in (("per", 1, 64), ("bits", 1, 64)):
            object.__setattr__(self, name, integer(getattr(self, name), name, low, high))
        object.__setattr__(self, "upper", integer(self.upper, "upper", 0, self.per - 1))
        object.__setattr__(self, "levels", integer(self.levels, "levels", 2, 65536 - (self.upper > 0)))
        need = _bits_for(self._values(self.per))
        if need > self.bits:
            raise ValueError(f"bits is {self.bits}; {self.per} digits of this kind take {need} bits")

    @property
    def plain(self) -> bool:
        """Whether digits are codes of ``bits`` bits each, all of whose values are used."""
        return self.per == 1 and self.upper == 0 and self.levels == 1 << self.bits

    def _values(self, digits: int) -> int:
        """The number of values of a block of so many digits."""
        upper = min(self.upper, digits)
        values: int = (self.levels + 1) ** upper * self.levels ** (digits - upper)
        return values

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the codes: uint8 up to 256 levels, then uint16."""
        return np.dtype(_dtype_of(self.levels + (self.upper > 0)))

    def upper_digits(self, count: int) -> int:
        """How many of the ``count`` digits of a row have levels + 1 values; they come first."""
        return count // self.per * self.upper + min(self.upper, count % self.per)

    def row_bytes(self, count: int) -> int:
        """Bytes of a packed row of ``count`` digits, padded to a multiple of 4."""
        full, rest = divmod(integer(count, "count", 0, 2**56), self.per)
        return _padded(full * self.bits + _bits_for(self._values(rest)))


def _bits_for(values: int) -> int:
    return (values - 1).bit_length()


@functools.lru_cache(maxsize=None, typed=True)
def radix_block(levels: int) -> Radix:
    """Digits with ``levels`` values: the shortest block that wastes under 1 % of its bits, or the least wasteful.

    Powers of two give one digit a block, 3 gives 5 digits in 8 bits. Raises ValueError unless 2 <= levels <= 65535.
    """
    levels = integer(levels, "levels", 2, 65535)
    best = Radix(levels, 0, 1, _bits_for(levels))
    for per in range(1, 65):
        bits = _bits_for(levels**per)
        if bits > 64:
            break
        if per * best.bits > best.per * bits:
            best = Radix(levels, 0, per, bits)
        if levels ** (100 * per) > 2 ** (99 * bits):
            break
    return best


@functools.lru_cache(maxsize=None, typed=True)
def radix_for(bits_per_digit: Fraction | float) -> Radix:
    """The block that carries the most information at a rate of at most ``bits_per_digit`` bits, from 1 to 16.

    Of all blocks with bits = floor(per * bits_per_digit) <= 64 and two adjacent level counts, the one with the greatest
    ((levels + 1)^upper * levels^(per - upper))^(1 / per); the shortest of equals. Compared in integers: exact. A float
    stands for the number it is, which is not always the one that was typed: ``Fraction(7, 3)``, not 2.3333.

    Raises ValueError for other rates, TypeError for what is not a number.
    """
    try:
        rate = Fraction(bits_per_digit)
    except TypeError:
        raise TypeError(f"bits_per_digit is {bits_per_digit!r}; it must be a number") from None
    except (ValueError, OverflowError):
        raise ValueError(f"bits_per_digit is {bits_per_digit!r}; it must be from 1 to 16") from None
    if not 1 <= rate <= 16:
        raise ValueError(f"bits_per_digit is {bits_per_digit}; it must be from 1 to 16 (below 1: leave digits out)")
    best, most = Radix(2, 0, 1, 1), 2
    for per in range(1, 65):
        bits = per * rate.numerator // rate.denominator
        if bits > 64:
            break
        levels = min(int(2.0 ** (bits / per)) + 1, 65535)
        while levels**per > 2**bits:
            levels -= 1
        values, upper = levels**per, 0
        while upper + 1 < per and values // levels * (levels + 1) <= 2**bits:
            values, upper = values // levels * (levels + 1), upper + 1
        if values**best.per > most**per:
            best, most = Radix(levels, upper, per, bits), values
    return best


def _radix_of(levels: int | Radix) -> Radix:
    return levels if isinstance(levels, Radix) else radix_block(integer(levels, "levels", 2, 65535))


def _integers(codes: ArrayLike | Any) -> Array:
    a = as_array(codes, "codes")
    if a.dtype.kind not in "iub" or a.ndim == 0:
        raise TypeError(f"codes is {a.dtype}{a.shape}; it must be an array of integers with at least one axis")
    return a


def _require_range(codes: Array, top: int, first: int = 0) -> None:
    """Raise ValueError with the first code outside 0 to ``top``; its last index counts from ``first``."""
    signed = codes.dtype.kind == "i"
    if codes.size == 0 or codes.dtype.kind == "b" or (not signed and top >= np.iinfo(codes.dtype).max):
        return
    if int(codes.max()) > top or (signed and int(codes.min()) < 0):
        bad = np.unravel_index(int(np.argmax((codes < 0) | (codes > top))), codes.shape)
        where = ", ".join(str(int(i)) for i in (*bad[:-1], bad[-1] + first))
        raise ValueError(f"codes[{where}] is {codes[bad]}; it must be from 0 to {top}")


def _for_kernel(codes: Array, bits: int) -> Array:
    """``codes`` as a C-contiguous array whose codes out of range the kernel finds; or their ValueError."""
    size = codes.dtype.itemsize
    if size <= 2 and codes.dtype.isnative and bits + (codes.dtype.kind == "i") <= 8 * size:
        return contiguous(codes.view(np.uint8 if size == 1 else np.uint16))
    _require_range(codes, 2**bits - 1)
    return contiguous(np.asarray(codes, dtype=_dtype_of(2**bits)))


def _as_packed(packed: ArrayLike | Any, width: int, what: str) -> Array:
    a = as_array(packed, "packed")
    if a.dtype != np.uint8 or a.ndim == 0:
        raise TypeError(f"packed is {a.dtype}{a.shape}; it must be an array of uint8 with at least one axis")
    if a.shape[-1] != width:
        raise ValueError(f"packed has rows of {a.shape[-1]} bytes; {what} take {width} bytes")
    return contiguous(a)


def _apart(out: Array | None, source: Array, name: str) -> None:
    if isinstance(out, np.ndarray) and np.may_share_memory(out, source):
        raise ValueError(f"out shares memory with {name}; pass another array")


def pack(
    codes: ArrayLike | Any, bits: int, *, out: NDArray[np.uint8] | None = None, workers: int = 1
) -> NDArray[np.uint8]:
    """Codes to a dense bit string a row, **least significant bit first**.

    Bit j of code i is bit i * bits + j of the row; bit k of a row is bit k mod 8, counted from the least significant,
    of byte k // 8. This is Parquet's order and not that of ``numpy.packbits``, whose default is most significant first;
    ``numpy.packbits(codes, axis=-1, bitorder="little")`` is the same at one bit a code. Rows are padded with zeros to a
    multiple of 4 bytes.

    codes: integers from 0 to 2^bits - 1 of any integer dtype, shape (..., n); each leading index is a row.
    bits: 1 to 16. out: uint8 of the result's shape, apart from ``codes``. workers: threads, -1 for all CPUs.
    Returns uint8 of shape (..., row_bytes(n, bits)).
    Raises ValueError naming the first code out of range, after which ``out`` holds anything, and TypeError if ``codes``
    are not integers.
    """
    bits = integer(bits, "bits", 1, 16)
    given = _integers(codes)
    a = _for_kernel(given, bits)
    _apart(out, a, "codes")
    result = output(out, (*a.shape[:-1], row_bytes(a.shape[-1], bits)), np.uint8)
    if a.size and _core.pack(a, a.shape[-1], bits, result, workers_of(workers)):
        _require_range(given, 2**bits - 1)
    return result


def unpack(
    packed: ArrayLike | Any, bits: int, count: int, *, out: Array | None = None, workers: int = 1
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Codes from the bit strings that :func:`pack` makes, **least significant bit first**.

    packed: uint8 of shape (..., row_bytes(count, bits)); the padding at the end of a row is not looked at.
    out: an array of the result's shape and dtype, apart from ``packed``. workers: threads, -1 for all CPUs.
    Returns shape (..., count): uint8 up to 8 bits, uint16 for 9 to 16 bits.
    Raises ValueError if the rows have another size, TypeError if ``packed`` is not uint8.
    """
    bits = integer(bits, "bits", 1, 16)
    a = _as_packed(packed, row_bytes(count, bits), f"{count} codes of {bits} bits")
    _apart(out, a, "packed")
    result = output(out, (*a.shape[:-1], count), _dtype_of(2**bits))
    if result.size:
        _core.unpack(a, count, bits, result, workers_of(workers))
    return result


def pack_radix(
    codes: ArrayLike | Any, levels: int | Radix, *, out: NDArray[np.uint8] | None = None, workers: int = 1
) -> NDArray[np.uint8]:
    """Digits of any level count to a dense bit string a row, in mixed-radix blocks, **least significant first**.

    Block i of a row fills its bits i * bits to (i + 1) * bits - 1, counted as in :func:`pack`. An integer ``levels``
    means :func:`radix_block`: 5 ternary digits a byte. With two level counts the codes come in the order [upper digits
    | other digits], see :class:`Radix`. Rows are padded with zeros to a multiple of 4 bytes.

    codes: integers below their level count, of any integer dtype, shape (..., n); each leading index is a row.
    out: uint8 of the result's shape, apart from ``codes``. workers: threads, -1 for all CPUs.
    Returns uint8 of shape (..., radix.row_bytes(n)).
    Raises ValueError naming the first code out of range, TypeError if ``codes`` are not integers.
    """
    radix = _radix_of(levels)
    a = _integers(codes)
    upper = radix.upper_digits(a.shape[-1])
    _require_range(a[..., :upper], radix.levels)
    _require_range(a[..., upper:], radix.levels - 1, upper)
    a = contiguous(np.asarray(a, dtype=radix.dtype))
    _apart(out, a, "codes")
    result = output(out, (*a.shape[:-1], radix.row_bytes(a.shape[-1])), np.uint8)
    if a.size:
        kind = radix.levels, radix.upper, radix.per, radix.bits
        _core.pack_radix(a, a.shape[-1], *kind, result, workers_of(workers))
    return result


def unpack_radix(
    packed: ArrayLike | Any, levels: int | Radix, count: int, *, out: Array | None = None, workers: int = 1
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Digits from the bit strings that :func:`pack_radix` makes, **least significant first**.

    Whatever the bytes, every digit is below its level count: the value of a block counts modulo the product of its
    level counts.

    packed: uint8 of shape (..., radix.row_bytes(count)); padding is not looked at.
    out: an array of the result's shape and dtype, apart from ``packed``. workers: threads, -1 for all CPUs.
    Returns shape (..., count): uint8 up to 256 levels, then uint16.
    Raises ValueError if the rows have another size, TypeError if ``packed`` is not uint8.
    """
    radix = _radix_of(levels)
    a = _as_packed(packed, radix.row_bytes(count), f"{count} digits of {radix}")
    _apart(out, a, "packed")
    result = output(out, (*a.shape[:-1], count), radix.dtype)
    if result.size:
        kind = radix.levels, radix.upper, radix.per, radix.bits
        _core.unpack_radix(a, count, *kind, result, workers_of(workers))
    return result


def pack_codes(codes: Array, radix: Radix) -> NDArray[np.uint8]:
    """Rows of digits as a spec with that radix stores them."""
    return pack(codes, radix.bits) if radix.plain else pack_radix(codes, radix)


def unpack_codes(packed: Array, radix: Radix, count: int) -> Array:
    """The first ``count`` digits of every row that ``pack_codes`` packed."""
    return unpack(packed, radix.bits, count) if radix.plain else unpack_radix(packed, radix, count)
