"""Codes of a few bits to bytes and back."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, case, peer


@case
def packing() -> Rows:
    """1 Mi codes; numpy.packbits knows one bit a code alone."""
    torch = peer("torch")
    rows = []
    for bits in (1, 2, 3, 4, 8):
        codes = np.random.default_rng(0).integers(0, 2**bits, 1 << 20).astype(np.uint8)
        packed = evenbits.pack(codes, bits)
        pack: dict[str, Work] = {"evenbits": lambda c=codes, b=bits, p=packed: evenbits.pack(c, b, out=p)}
        unpack: dict[str, Work] = {"evenbits": lambda c=codes, b=bits, p=packed: evenbits.unpack(p, b, c.size, out=c)}
        if bits == 1:
            pack["numpy"] = lambda c=codes: np.packbits(c, bitorder="little")
            unpack["numpy"] = lambda p=packed: np.unpackbits(p, bitorder="little")
        if bits == 4 and torch:
            torch.set_num_threads(1)
            t = torch.from_numpy(codes.copy())
            q = torch.from_numpy(packed.copy())
            pack["torch"] = lambda t=t: t[::2] | (t[1::2] << 4)
            unpack["torch"] = lambda q=q: torch.stack([q & 15, q >> 4], 1).reshape(-1)
        rows += [(f"pack {bits} bits", codes.size, pack), (f"unpack {bits} bits", codes.size, unpack)]
    return rows
