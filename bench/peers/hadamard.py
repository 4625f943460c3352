"""Fast Hadamard transforms and rotations."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, aligned, case, peer


def in_place(x: np.ndarray) -> dict[str, Work]:
    """Transforms of the rows of x, ours and fht-cpu's."""
    fht = peer("fht_cpu")
    works: dict[str, Work] = {"evenbits": lambda: evenbits.hadamard_transform(x, out=x)}
    return works | ({"fht-cpu": lambda: fht.fht(x, num_threads=1)} if fht else {})


@case
def hadamard_rows() -> Rows:
    """Rows of n, in cache: aligned as kernels like it."""
    lengths = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    return [(f"rows of {n}", 65536, in_place(aligned((65536 // n, n)))) for n in lengths]


@case
def hadamard_dram() -> Rows:
    """The same from memory, on an array as NumPy allocates it; "pass" reads and writes it once."""
    x = np.zeros(1 << 25, np.float32)
    once: dict[str, Work] = {"pass": lambda: np.multiply(x, 1, out=x)}
    return [(f"rows of {n}, DRAM", x.size, in_place(x.reshape(-1, n)) | once) for n in (64, 256, 1024, 4096)]


@case
def hadamard_vector() -> Rows:
    """One vector."""
    return [(f"vector of 2^{k}", 1 << k, in_place(np.zeros((1, 1 << k), np.float32))) for k in (14, 16, 18, 20, 22, 24)]
