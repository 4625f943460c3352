"""Codes of a few bits to bytes and back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

import evenbits
from evenbits.packing import radix_block, radix_for
from peers import Rows, Work, case, peer


def ours(codes: np.ndarray, bits: int) -> tuple[dict[str, Work], dict[str, Work], np.ndarray]:
    packed = evenbits.pack(codes, bits)
    pack: dict[str, Work] = {"evenbits": lambda: evenbits.pack(codes, bits, out=packed)}
    unpack: dict[str, Work] = {"evenbits": lambda: evenbits.unpack(packed, bits, codes.size, out=codes)}
    return pack, unpack, packed


def fast_pfor(codes: np.ndarray) -> tuple[Work, Work] | None:
    """Blocks of 128 uint32 of a common width, with SSE."""
    library: Any = peer("pyfastpfor")
    if library is None:
        return None
    codec = library.getCodec("simdbinarypacking")
    wide = codes.astype(np.uint32)
    packed, restored = np.empty(codes.size + 4096, np.uint32), np.empty_like(wide)
    size = codec.encodeArray(wide, wide.size, packed, packed.size)
    return (
        lambda: codec.encodeArray(wide, wide.size, packed, packed.size),
        lambda: codec.decodeArray(packed, size, restored, restored.size),
    )


@case
def packing() -> Rows:
    """1 Mi codes; numpy.packbits knows one bit a code alone."""
    torch = peer("torch")
    rows: Rows = []
    for bits in range(1, 9):
        codes = np.random.default_rng(0).integers(0, 2**bits, 1 << 20).astype(np.uint8)
        pack, unpack, packed = ours(codes, bits)
        if bits == 1:
            pack["numpy"] = lambda c=codes: np.packbits(c, bitorder="little")
            unpack["numpy"] = lambda p=packed: np.unpackbits(p, bitorder="little")
        if bits == 4 and torch:
            torch.set_num_threads(1)
            t = torch.from_numpy(codes.copy())
            q = torch.from_numpy(packed.copy())
            pack["torch"] = lambda t=t: t[::2] | (t[1::2] << 4)
            unpack["torch"] = lambda q=q: torch.stack([q & 15, q >> 4], 1).reshape(-1)
        if fast := fast_pfor(codes):
            pack["pyfastpfor"], unpack["pyfastpfor"] = fast
        rows += [(f"pack {bits} bits", codes.size, pack), (f"unpack {bits} bits", codes.size, unpack)]
    return rows


@case
def packing_dram() -> Rows:
    """32 Mi codes from memory, beside a copy of as many bytes as the packing reads and writes: half of that each."""
    rows: Rows = []
    source, target = np.ones((2, 1 << 25), np.uint8)
    for bits in (1, 2, 3, 4, 8):
        codes = np.tile(np.arange(256, dtype=np.uint8) & (2**bits - 1), 1 << 17)
        pack, unpack, packed = ours(codes, bits)
        half = (codes.size + packed.size) // 2
        pack["copy"] = unpack["copy"] = lambda n=half: np.copyto(target[:n], source[:n])
        rows += [(f"pack {bits} bits, DRAM", codes.size, pack), (f"unpack {bits} bits, DRAM", codes.size, unpack)]
    return rows


@case
def packing_wide() -> Rows:
    """64 Ki codes of 9 to 15 bits, and digits of mixed radix."""
    rows: Rows = []
    for bits in (9, 12, 15):
        codes = np.random.default_rng(0).integers(0, 2**bits, 1 << 16).astype(np.uint16)
        pack, unpack, _ = ours(codes, bits)
        if fast := fast_pfor(codes):
            pack["pyfastpfor"], unpack["pyfastpfor"] = fast
        rows += [(f"pack {bits} bits", codes.size, pack), (f"unpack {bits} bits", codes.size, unpack)]
    for radix in (radix_block(3), radix_for(Fraction(3, 2)), radix_for(Fraction(5, 2)), radix_block(6)):
        digits = np.random.default_rng(0).integers(0, radix.levels, 1 << 16).astype(np.uint8)
        packed = evenbits.pack_radix(digits, radix)
        what = f"{radix.levels}{'+' if radix.upper else ''} levels, {radix.per} digits in {radix.bits} bits"
        rows += [
            (f"pack {what}", digits.size, {"evenbits": lambda d=digits, r=radix, p=packed: evenbits.pack_radix(d, r, out=p)}),
            (
                f"unpack {what}",
                digits.size,
                {"evenbits": lambda d=digits, r=radix, p=packed: evenbits.unpack_radix(p, r, d.size, out=d)},
            ),
        ]
    return rows
