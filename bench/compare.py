"""evenbits beside other packages, in one run: ratios of the time that one thread of the processor spends.

    python bench/compare.py [--rounds 15] [case ...]

Every case runs ours and its peers in turn, ``rounds`` times, pinned to one processor; the least CPU time of each counts, and
the ratio is peer / ours. Peers that are not installed are left out: pip install fht-cpu faiss-cpu pyfastpfor torch.
NumPy is always there. Sizes "in cache" are 256 KiB of float32, "DRAM" 128 MiB.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import evenbits
from evenbits import _core

Work = Callable[[], Any]
CASES: dict[str, Callable[[], list[tuple[str, int, dict[str, Work]]]]] = {}
"""Name -> rows (what, elements, {"evenbits" and peers: work})."""


def case(f: Callable[[], list[tuple[str, int, dict[str, Work]]]]) -> Callable[[], list[tuple[str, int, dict[str, Work]]]]:
    CASES[f.__name__] = f
    return f


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros that start on a cache line."""
    size = int(np.prod(shape)) * 4
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(np.float32).reshape(shape)


def in_place(x: np.ndarray) -> dict[str, Work]:
    """Transforms of the rows of x, ours and fht-cpu's."""
    fht = peer("fht_cpu")
    works: dict[str, Work] = {"evenbits": lambda: evenbits.hadamard_transform(x, out=x)}
    return works | ({"fht-cpu": lambda: fht.fht(x, num_threads=1)} if fht else {})


@case
def hadamard_rows() -> list[tuple[str, int, dict[str, Work]]]:
    """Rows of n, in cache: aligned as kernels like it."""
    lengths = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    return [(f"rows of {n}", 65536, in_place(aligned((65536 // n, n)))) for n in lengths]


@case
def hadamard_dram() -> list[tuple[str, int, dict[str, Work]]]:
    """The same from memory, on an array as NumPy allocates it; "pass" reads and writes it once."""
    x = np.zeros(1 << 25, np.float32)
    once: dict[str, Work] = {"pass": lambda: np.multiply(x, 1, out=x)}
    return [(f"rows of {n}, DRAM", x.size, in_place(x.reshape(-1, n)) | once) for n in (64, 256, 1024, 4096)]


@case
def hadamard_vector() -> list[tuple[str, int, dict[str, Work]]]:
    """One vector."""
    return [(f"vector of 2^{k}", 1 << k, in_place(np.zeros((1, 1 << k), np.float32))) for k in (14, 16, 18, 20, 22, 24)]


@case
def packing() -> list[tuple[str, int, dict[str, Work]]]:
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


@case
def stochastic_rounding() -> list[tuple[str, int, dict[str, Work]]]:
    """float32 to 4-bit codes, 64 Ki values."""
    x = np.random.default_rng(0).random(65536, dtype=np.float32) * 15
    rng, out = np.random.default_rng(0), np.empty(x.size, np.uint8)
    works: dict[str, Work] = {
        "evenbits": lambda: evenbits.round_stochastic(x, scale=1, zero=0, top=15, seed=0, out=out),
        "numpy": lambda: np.floor(x + rng.random(x.size, dtype=np.float32)).astype(np.uint8),
    }
    return [("stochastic rounding", x.size, works)]


@case
def encode() -> list[tuple[str, int, dict[str, Work]]]:
    """Rotation, Lloyd-Max levels, codes: 4096 vectors of 1024; faiss' "HR,EDEN{b}BIASED" has the same error."""
    faiss = peer("faiss")
    x = np.random.default_rng(0).standard_normal((4096, 1024), dtype=np.float32)
    rows = []
    for bits in (1, 2, 3, 4):
        works: dict[str, Work] = {"evenbits": lambda b=bits: evenbits.quantize(x, b)}
        if faiss:
            faiss.omp_set_num_threads(1)
            index = faiss.index_factory(1024, f"HR,EDEN{bits}BIASED")
            index.train(x)
            works["faiss"] = lambda i=index: i.sa_encode(x)
        rows.append((f"encode {bits} bits", x.size, works))
        e = evenbits.quantize(x, bits)
        rows.append((f"decode {bits} bits", x.size, {"evenbits": lambda e=e: evenbits.decode(e)}))
    return rows


def measure(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Least nanoseconds of each, taken in turn; short works are repeated for a millisecond."""
    repeats = {}
    for name, work in works.items():
        work()
        start = time.perf_counter_ns()
        work()
        repeats[name] = max(1, 1_000_000 // max(time.perf_counter_ns() - start, 1))
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.thread_time_ns()
            for _ in range(repeats[name]):
                work()
            best[name] = min(best[name], (time.thread_time_ns() - start) / repeats[name])
    return best


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.processor())
    except OSError:
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=[])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa", default=_core.isa())
    arguments = parser.parse_args()
    _core.use_isa(arguments.isa)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    versions = [f"evenbits {evenbits.__version__} ({_core.isa()})", f"numpy {np.__version__}"]
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    versions += [f"{name} {installed[name]}" for name in ("fht_cpu", "faiss-cpu", "torch") if name in installed]
    print(f"{processor()}; {', '.join(versions)}; least of {arguments.rounds}, ns an element\n")
    print("| work | evenbits | peer | ns | peer / evenbits |\n|---|---|---|---|---|")
    for name in arguments.cases or CASES:
        for what, elements, works in CASES[name]():
            times = measure(works, arguments.rounds)
            ours = times.pop("evenbits")
            if not times:
                print(f"| {what} | {ours / elements:.3f} | | | |", flush=True)
            for other, t in times.items():
                print(f"| {what} | {ours / elements:.3f} | {other} | {t / elements:.3f} | {t / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()
