"""Packing against NumPy's packbits and against memory: ``pytest bench/bench_packing.py``."""

import numpy as np
import pytest

from evenbits import _core
from evenbits.packing import Radix, pack, pack_radix, radix_block, row_bytes, unpack, unpack_radix

N = 1 << 20


def codes_of(levels, rng=np.random.default_rng(0)):  # noqa: B008  the same numbers for all
    return rng.integers(0, levels, N, np.uint8 if levels <= 256 else np.uint16)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 11])
def test_pack(benchmark, bits, isa):
    benchmark.group = f"pack {bits} bits"
    codes, packed = codes_of(2**bits), np.empty(row_bytes(N, bits), np.uint8)
    benchmark(_core.pack, codes, N, bits, packed, 1)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 11])
def test_unpack(benchmark, bits, isa):
    benchmark.group = f"unpack {bits} bits"
    codes = codes_of(2**bits)
    benchmark(_core.unpack, pack(codes, bits), N, bits, codes, 1)


def test_pack_with_its_checks(benchmark):
    benchmark.group = "pack 3 bits"
    codes = codes_of(8)
    benchmark(pack, codes, 3, out=pack(codes, 3))


def test_numpy_packbits(benchmark):
    benchmark.group = "pack 1 bits"
    benchmark(np.packbits, codes_of(2), bitorder="little")


def test_numpy_unpackbits(benchmark):
    benchmark.group = "unpack 1 bits"
    benchmark(np.unpackbits, np.packbits(codes_of(2)), bitorder="little")


def test_numpy_copy(benchmark):
    benchmark.group = "pack 8 bits"
    codes = codes_of(256)
    benchmark(np.copyto, codes.copy(), codes)


@pytest.mark.parametrize("radix", [radix_block(3), Radix(5, 7, 25, 63)], ids=str)
@pytest.mark.parametrize("operation", ["pack", "unpack"])
def test_radix(benchmark, radix, operation, isa):
    benchmark.group = f"{operation} {radix}"
    codes = codes_of(radix.levels)
    packed = pack_radix(codes, radix)
    if operation == "pack":
        benchmark(pack_radix, codes, radix, out=packed)
    else:
        benchmark(unpack_radix, packed, radix, N, out=codes)


def test_unpack_with_its_checks(benchmark):
    benchmark.group = "unpack 3 bits"
    codes = codes_of(8)
    benchmark(unpack, pack(codes, 3), 3, N, out=codes)
