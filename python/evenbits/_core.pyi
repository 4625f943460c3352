# The kernels. They check memory and nothing else: call the functions of the package instead.
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

__version__: str
_api: Any

def isa() -> str: ...
def use_isa(isa: str) -> None: ...
def available_isas() -> list[str]: ...
def enter_default_float_state() -> int: ...
def leave_float_state(state: int) -> None: ...
def hadamard(
    x: _Array, out: _Array, base: _Array, before: _Array | None, after: _Array | None, scale: float, workers: int
) -> None: ...
def hadamard_half(x: _Array, out: _Array, base: _Array, scale: float, bfloat16: bool, workers: int) -> None: ...
def rotate(x: _Array, out: _Array, base: _Array, factors: _Array, inverse: bool, workers: int) -> None: ...
def rotate_half(
    x: _Array, out: _Array, base: _Array, factors: _Array, inverse: bool, bfloat16: bool, workers: int
) -> None: ...
def spread(x: _Array, support: _Array, out: _Array, n: int, workers: int) -> None: ...
def gather(y: _Array, support: _Array, out: _Array, n: int, workers: int) -> None: ...
def hadamard_plain(x: object, scale: object, out: object, workers: object, /) -> _Array | None: ...
def bfloat16_bits(capsule: Any) -> _Array | None: ...
def kashin(
    x: _Array,
    support: _Array,
    out: _Array,
    base: _Array,
    signs: _Array,
    iterations: int,
    eta: float,
    delta: float,
    closing: bool,
    workers: int,
) -> None: ...
def democratic(
    x: _Array, support: _Array, out: _Array, base: _Array, signs: _Array, iterations: int, workers: int
) -> None: ...
def dot(x: _Array, y: _Array, n: int, group: int, out: _Array, workers: int) -> None: ...
def extremes(x: _Array, n: int, group: int, least: _Array, greatest: _Array, workers: int) -> None: ...
def first_nonfinite(x: _Array, workers: int = 1) -> int: ...
def random_words(seed: int, stream: int, first: int, out: _Array) -> None: ...
def round_nearest(x: _Array, n: int, group: int, scale: _Array, zero: _Array, top: int, codes: _Array, workers: int) -> None: ...
def round_stochastic(
    x: _Array,
    n: int,
    group: int,
    scale: _Array,
    zero: _Array,
    top: int,
    seed: int,
    stream: int,
    first: int,
    codes: _Array,
    workers: int,
) -> None: ...
def round_bfloat16(x: _Array, seed: int, stream: int, first: int, out: _Array, workers: int) -> None: ...
def round_float16(x: _Array, seed: int, stream: int, first: int, out: _Array, workers: int) -> None: ...
def round_error(
    x: _Array, n: int, group: int, scale: _Array, zero: _Array, step: _Array, top: int, errors: _Array, workers: int
) -> None: ...
def nearest_level(x: _Array, n: int, group: int, scale: _Array, thresholds: _Array, codes: _Array, workers: int) -> None: ...
def dequantize(
    codes: _Array, n: int, group: int, table: _Array, scale: _Array, zero: _Array | None, y: _Array, workers: int
) -> None: ...
def pack(codes: _Array, n: int, bits: int, packed: _Array, workers: int) -> int: ...
def unpack(packed: _Array, n: int, bits: int, codes: _Array, workers: int) -> None: ...
def pack_radix(codes: _Array, n: int, levels: int, upper: int, per: int, bits: int, packed: _Array, workers: int) -> None: ...
def unpack_radix(packed: _Array, n: int, levels: int, upper: int, per: int, bits: int, codes: _Array, workers: int) -> None: ...
def encode_rotated(
    x: _Array,
    base: _Array,
    signs: _Array,
    scale: float,
    levels: _Array,
    thresholds: _Array,
    bits: int,
    fit: int,
    packed: _Array,
    scales: _Array,
    workers: int,
) -> list[tuple[int, int]]: ...
def decode_rotated(
    packed: _Array, scales: _Array, base: _Array, signs: _Array, scale: float, levels: _Array, bits: int, x: _Array, workers: int
) -> list[tuple[int, int]]: ...
def product(
    codes: _Array,
    rows: int,
    n: int,
    bits: int,
    levels: _Array,
    scale: _Array,
    zero: _Array | None,
    group: int,
    x: _Array,
    y: _Array,
    first: int,
    workers: int,
) -> None: ...
def product_bytes(
    codes: _Array,
    rows: int,
    n: int,
    bits: int,
    units: _Array,
    center: float,
    step: float,
    scale: _Array,
    zero: _Array | None,
    group: int,
    x: _Array,
    y: _Array,
    first: int,
    workers: int,
) -> None: ...
def sign_frame(
    x: _Array,
    out: _Array,
    base: _Array,
    signs: _Array,
    box: _Array,
    iterations: int,
    level: float,
    momentum: float,
    concavity: float,
    workers: int,
) -> None: ...
def kashin_split(
    x: _Array,
    u: _Array,
    v: _Array,
    base: _Array,
    signs: _Array,
    greedy: bool,
    most: int,
    tolerance: float,
    residuals: _Array,
    workers: int,
) -> None: ...
def kashin_joint(
    x: _Array,
    codes: _Array,
    base: _Array,
    signs: _Array,
    split: int,
    levels: tuple[int, int, int, int],
    peaks: tuple[float, float, float, float],
    iterations: int,
    momentum: float,
    concavity: float,
    workers: int,
) -> None: ...
def trellis_search(
    x: _Array,
    lanes: int,
    order: int,
    contexts: int,
    fineness: float,
    points: _Array,
    prices: _Array,
    magnitudes: _Array,
    symbols: _Array,
    counts: _Array,
    sums: _Array,
) -> None: ...
def trellis_write(symbols: _Array, lanes: int, order: int, shares: _Array, starts: _Array, out: _Array) -> int: ...
def trellis_read(
    stream: _Array,
    lanes: int,
    order: int,
    contexts: int,
    shares: _Array,
    starts: _Array,
    slots: _Array,
    values: _Array,
    y: _Array,
) -> bool: ...
def encode_levels(levels: _Array, n: int, out: _Array) -> int: ...
def decode_levels(stream: _Array, n: int, levels: _Array) -> int: ...
def refine_encode(
    w: _Array,
    y: _Array,
    out: _Array,
    passes: bool,
    decay: float,
    count: int,
    order: int,
    most: int,
    total: float,
    least: float,
    level: float,
    slack: float,
    first: float,
    smallest: float,
) -> tuple[int, int, int, float]: ...
def refine_decode(stream: _Array, y: _Array, passes: bool, decay: float, events: int) -> int | None: ...
def multiply_add(a: _Array, b: _Array, c: _Array, workers: int) -> None: ...
def add_gram(x: _Array, sums: _Array, workers: int) -> None: ...
def follow_path(
    w: _Array,
    base: _Array | None,
    gram: _Array,
    pivot: _Array,
    step: _Array | None,
    bits: _Array | None,
    low: float,
    high: float,
    offset: float,
    shrink: float,
    gap: float,
    codes: _Array | None,
    z: _Array | None,
    clamped: _Array | None,
    workers: int,
) -> None: ...
def nearest_codeword(
    x: _Array, stride: int, columns: _Array, half: _Array, subtract: bool, codes: _Array, workers: int
) -> None: ...
def sum_codewords(
    codes: _Array, first: int, last: int, books: _Array, widths: _Array, bits: _Array, n: int, y: _Array, workers: int
) -> None: ...
def group_sums(x: _Array, n: int, group: _Array, sums: _Array) -> None: ...
def indexed_product(x: _Array, n: int, index: _Array | None, matrices: _Array, m: int, y: _Array, workers: int) -> None: ...
def windows(x: _Array, narrow: _Array, wide: _Array | None, y: _Array, workers: int) -> None: ...
def bit_shift_search(x: _Array, n: int, memory: int, bits: int, per: int, codes: _Array, workers: int) -> None: ...
def bit_shift_decode(
    codes: _Array, scale: _Array, n: int, memory: int, bits: int, per: int, y: _Array, workers: int
) -> None: ...
def bit_shift_product(
    codes: _Array, scale: _Array, n: int, memory: int, bits: int, per: int, x: _Array, y: _Array, workers: int
) -> None: ...
