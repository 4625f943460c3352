"""Fast Hadamard transforms and rotations."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable

import numpy as np

import evenbits
from peers import Rows, Work, aligned, case, peer

LOOP = """
#include <stddef.h>
typedef void (*Rotate)(const float*, float*, size_t, size_t, size_t, float, const unsigned char*);
void rotate(Rotate f, const float* x, float* y, size_t rows, size_t n, float factor, const unsigned char* flips) {
  for (; rows; --rows, x += n, y += n) f(x, y, n, n, n, factor, flips);
}
"""


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


@case
def hadamard_lengths() -> Rows:
    """Rows of m 2^k beside rows of the next power of two, as many numbers of either."""
    rows: Rows = []
    for n in (384, 768, 1536, 3072, 1280, 2560, 1792, 3584):
        longer = 1 << n.bit_length()
        x = aligned((np.lcm(n, 1 << 15),))
        ours: dict[str, Work] = {"evenbits": in_place(x.reshape(-1, n))["evenbits"]}
        rows.append((f"rows of {n}", x.size, ours | {f"rows of {longer}": in_place(x.reshape(-1, longer))["evenbits"]}))
    return rows


@case
def hadamard_halves() -> Rows:
    """Rows of 16-bit floats, in cache, beside rows of float32: no peer has them on a CPU."""
    rows: Rows = []
    for n in (64, 256, 1024, 4096, 8192):
        x = aligned((1 << 18,)).reshape(-1, n)
        wide: dict[str, Work] = {"float32": lambda x=x: evenbits.hadamard_transform(x, 0.5, out=x)}
        for dtype in filter(None, (np.float16, getattr(peer("ml_dtypes"), "bfloat16", None))):
            h = aligned((1 << 17,)).view(dtype).reshape(-1, n)
            ours: dict[str, Work] = {"evenbits": lambda h=h: evenbits.hadamard_transform(h, 0.5, out=h)}
            rows.append((f"rows of {n}, {np.dtype(dtype).name}", x.size, ours | wide))
    return rows


def rabitq(n: int) -> Callable[[np.ndarray, np.ndarray], None] | None:
    """What RaBitQ's FhtKacRotator calls for a vector of n = 2^k, a function that its extension exports: 4 rounds of flipped signs
    and transforms. The loop over rows is compiled here, as a call from Python takes longer than a short vector."""
    extension = getattr(peer("rabitqlib"), "_rabitqlib", None)
    function = getattr(extension and ctypes.CDLL(extension.__file__), "_ZN9rabitqlib4simd10fht_rotateEPKfPfmmmfPKh", None)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not function or not compiler:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/loop.so"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-xc", "-", "-o", library], input=LOOP, text=True, check=True)
        rotate = ctypes.CDLL(library).rotate
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    rotate.argtypes = pointer, pointer, pointer, size, size, ctypes.c_float, pointer
    flips = np.random.default_rng(0).integers(0, 256, n // 2).astype(np.uint8)

    def rotated(x: np.ndarray, y: np.ndarray) -> None:
        rotate(ctypes.cast(function, pointer), x.ctypes.data, y.ctypes.data, len(x), n, n**-0.5, flips.ctypes.data)

    return rotated


@case
def rotation() -> Rows:
    """Random rotations of 1 and 3 rounds beside one plain transform; faiss' "HR" has 3 rounds, RaBitQ's rotator 4."""
    faiss = peer("faiss")
    rows: Rows = []
    for n in (256, 1024, 4096):
        x = np.random.default_rng(0).standard_normal((1 << 18) // n * n, dtype=np.float32).reshape(-1, n)
        y = aligned(x.shape)
        for rounds in (1, 3):
            works: dict[str, Work] = {
                "evenbits": lambda r=rounds, x=x, y=y: evenbits.randomized_hadamard(x, seed=0, rounds=r, out=y),
                "one transform": lambda x=x, y=y: evenbits.hadamard_transform(x, x.shape[-1] ** -0.5, out=y),
            }
            if faiss and rounds == 3:
                faiss.omp_set_num_threads(1)
                hr = faiss.HadamardRotation(n)
                hr.train(x)
                works["faiss HR"] = lambda x=x, hr=hr: hr.apply(x)
            if other := rabitq(n):
                works["rabitqlib"] = lambda x=x, y=y, f=other: f(x, y)
            rows.append((f"rotation of {n}, {rounds} rounds", x.size, works))
    return rows
