"""Few-bit quantization with SIMD kernels: any bit budget, the same bytes on every machine."""

from __future__ import annotations

from evenbits._build import get_cmake_dir, get_embedded_include, get_include
from evenbits._core import __version__
from evenbits.codebooks import dequantize, kmeans, lloyd_max, nearest_level, optimal_step
from evenbits.container import load, save, verify
from evenbits.embedding import democratic_embedding, democratic_inverse
from evenbits.encoded import Encoded, EncodedError, decode
from evenbits.matrices import hadamard_length, hadamard_matrix
from evenbits.packing import pack, pack_radix, unpack, unpack_radix
from evenbits.products import linear
from evenbits.quantizers import methods, quantize
from evenbits.random import random_bits, random_signs, uniform
from evenbits.rounding import round_nearest, round_stochastic, round_to_bfloat16, round_to_float16
from evenbits.transforms import hadamard_transform, inverse_randomized_hadamard, randomized_hadamard

__all__ = [
    "Encoded",
    "EncodedError",
    "__version__",
    "decode",
    "democratic_embedding",
    "democratic_inverse",
    "dequantize",
    "get_cmake_dir",
    "get_embedded_include",
    "get_include",
    "hadamard_length",
    "hadamard_matrix",
    "hadamard_transform",
    "inverse_randomized_hadamard",
    "kmeans",
    "linear",
    "lloyd_max",
    "load",
    "methods",
    "nearest_level",
    "optimal_step",
    "pack",
    "pack_radix",
    "quantize",
    "random_bits",
    "random_signs",
    "randomized_hadamard",
    "round_nearest",
    "round_stochastic",
    "round_to_bfloat16",
    "round_to_float16",
    "save",
    "uniform",
    "unpack",
    "unpack_radix",
    "verify",
]
