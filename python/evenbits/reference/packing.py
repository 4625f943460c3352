"""Bit strings as numbers: the definition that the packing kernels are tested against, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(codes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Bit j of code i is bit i * bits + j of its row, least significant first; rows are padded to 4 bytes."""
    a = np.asarray(codes)
    string = (a[..., None] >> np.arange(bits) & 1).reshape(*a.shape[:-1], -1)
    padding = np.zeros((*a.shape[:-1], -string.shape[-1] % 32), string.dtype)
    return np.packbits(np.concatenate([string, padding], axis=-1).astype(np.uint8), axis=-1, bitorder="little")


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[Any]:
    string = np.unpackbits(packed, axis=-1, bitorder="little")[..., : count * bits]
    codes: NDArray[Any] = (string.reshape(*packed.shape[:-1], count, bits).astype(int) << np.arange(bits)).sum(axis=-1)
    return codes.astype(np.uint8 if bits <= 8 else np.uint16)


def _blocks(n: int, levels: int, upper: int, per: int, bits: int) -> list[tuple[list[tuple[int, int]], int]]:
    """Of every block: (index in the row, level count) of its digits, least significant first, and its bits."""
    sizes = [min(per, n - first) for first in range(0, n, per)]
    uppers = sum(min(upper, size) for size in sizes)
    first, second = iter(range(uppers)), iter(range(uppers, n))
    blocks = []
    for size in sizes:
        digits = [(next(first), levels + 1) for _ in range(min(upper, size))]
        digits += [(next(second), levels) for _ in range(size - len(digits))]
        values = 1
        for _, count in digits:
            values *= count
        blocks.append((digits, bits if size == per else (values - 1).bit_length()))
    return blocks


def pack_radix(codes: ArrayLike, levels: int, upper: int, per: int, bits: int) -> NDArray[np.uint8]:
    a = np.asarray(codes)
    blocks = _blocks(a.shape[-1], levels, upper, per, bits)
    row_bytes = -(-sum(width for _, width in blocks) // 32) * 4
    rows = []
    for row in a.reshape(-1, a.shape[-1]).tolist() if a.size else []:
        string = position = 0
        for digits, width in blocks:
            value = 0
            for index, count in reversed(digits):
                value = value * count + row[index]
            string |= value << position
            position += width
        rows.append(np.frombuffer(string.to_bytes(row_bytes, "little"), np.uint8))
    return np.array(rows, np.uint8).reshape(*a.shape[:-1], row_bytes)


def unpack_radix(packed: NDArray[np.uint8], levels: int, upper: int, per: int, bits: int, count: int) -> NDArray[Any]:
    """A block whose value is too large counts modulo the product of its level counts."""
    rows = []
    for row in packed.reshape(-1, packed.shape[-1]) if packed.size else []:
        string, codes = int.from_bytes(row.tobytes(), "little"), [0] * count
        for digits, width in _blocks(count, levels, upper, per, bits):
            value, string = string & ((1 << width) - 1), string >> width
            for index, values in digits:
                value, codes[index] = divmod(value, values)
        rows.append(codes)
    dtype = np.uint8 if levels + (upper > 0) <= 256 else np.uint16
    return np.array(rows, dtype).reshape(*packed.shape[:-1], count)
