"""How near methods come to the least error possible: rho = NMSE 4^B, all bits counted, on four laws and a text encoder.

    python bench/experiments/rate.py --json rate.json [--rows 64] [--d 4096] [--on SOURCE ...] [--methods NAME ...]
    python bench/experiments/rate.py --speed
    python bench/experiments/rate_plot.py rate.json

B are all bits of an encoded matrix of ``rows`` vectors, or of all matrices of MiniLM (error against their own energy):
codes, scales, tables, the spec. rho is 1 for the best code that a Gaussian can have, and for no rotated vector can it be
less; values as they are can be coded with less where their law is another. Streams keep to ``budget``; codes of fixed width
have ``bits`` a value, their best, and with scales a little more in all, which counts. The JSON keeps every figure as soon
as it is there.

FAISS, where it is installed: EDEN and RaBitQ with its rotation, all that an index keeps for a vector counted. Product and
residual quantizers (PQ, RQ) have codebooks learnt from the very values they encode, one set for groups of 2 to 16 of them at
any place; an index shares these among its vectors, so there is a row that counts them, as float32, and one that does not.
On MiniLM one group in some is encoded, 2^15 in all.

``--speed``: encoding and decoding, one thread, thread CPU time, the least of three rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from distortion import LAWS
from kept import Kept

import evenbits

BUDGETS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6]
FEW = [1, 2, 3, 4]
"""Budgets of slow methods on the encoder."""
UP_TO_1 = [0.1, 0.25, 0.5, 1]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"entropy_trellis, {n} states": ("entropy_trellis", {"states": n}) for n in (8, 32, 128)},
    **{f"entropy_trellis, {n} states, not rotated": ("entropy_trellis", {"states": n, "rotate": False}) for n in (8, 128)},
    "trellis": ("trellis", {}),
    "trellis, memory 16": ("trellis", {"memory": 16}),
    "kashin": ("kashin", {}),
    "sign_frame": ("sign_frame", {}),
    "democratic 1.05, exact": ("democratic", {"redundancy": 1.05, "solver": "exact"}),
    "near_democratic": ("near_democratic", {}),
    "residual": ("residual", {}),
    "lloyd_max, k-means, not rotated": ("lloyd_max", {"law": "empirical"}),
    "uniform, optimal clip, not rotated": ("uniform", {"grid": "mid_rise", "range": "optimal"}),
    "uniform, 32 a scale, not rotated": ("uniform", {"per": 32, "range": "min_max", "scale_dtype": "float16"}),
    "dead_zone, not rotated": ("dead_zone", {}),
    "pruning, not rotated": ("pruning", {}),
}
SLOW = {
    "kashin",
    "sign_frame",
    "trellis, memory 16",
    "democratic 1.05, exact",
    "entropy_trellis, 128 states, not rotated",
    "residual",
    "pruning, not rotated",
}
STREAMS = {"entropy_trellis", "dead_zone", "pruning"}
ENCODER = "MiniLM"
GROUPS = {0.5: (16, 1), 1: (8, 1), 2: (4, 1), 4: (2, 1)}, {0.5: (32, 2), 1: (16, 2), 2: (8, 2), 3: (8, 3), 4: (8, 4)}
"""Of PQ and RQ by bits a value: how many values codes stand for, and how many codes of 8 bits."""
MOST_GROUPS = 1 << 15
Point = list[float]
"""Bits a value and NMSE; of PQ and RQ also the bits a value that codebooks take, which the first does not count."""


def sources(rows: int, d: int) -> dict[str, Callable[[], list[np.ndarray]]]:
    """Matrices by their name."""

    def drawn(law: str) -> list[np.ndarray]:
        return [LAWS[law](np.random.default_rng(0), (rows, d)).astype(np.float32)]

    return {law: (lambda law=law: drawn(law)) for law in LAWS} | {ENCODER: matrices}


def matrices() -> list[np.ndarray]:
    """All matrices of all-MiniLM-L6-v2 but that of its two token types."""
    import packages
    from safetensors.numpy import load_file

    tensors = load_file(packages.minilm() / "model.safetensors")
    return [t for _, t in sorted(tensors.items()) if t.ndim == 2 and t.size >= 4096]


def point(arrays: list[np.ndarray], method: str, budget: float, options: dict[str, Any]) -> Point | None:
    rate = {"budget" if method in STREAMS else "bits": budget}
    bits = lost = 0.0
    for i, x in enumerate(arrays):
        try:
            e = evenbits.quantize(x, method=method, stream=i, **rate, **options)
        except ValueError:  # no such code
            return None
        bits += e.bits_per_value * x.size
        lost += e.error(x) ** 2 * energy(x)
    bits /= sum(x.size for x in arrays)
    return [bits, lost / sum(map(energy, arrays))] if bits >= 0.8 * budget else None


def energy(x: np.ndarray) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def faiss_codecs() -> dict[str, dict[float, Callable[[list[np.ndarray]], Point]]]:
    """By name and nominal bits a value; none where FAISS is not installed."""
    try:
        import faiss
    except ModuleNotFoundError:
        return {}
    faiss.omp_set_num_threads(1)

    def rotated(arrays: list[np.ndarray], coder: str) -> Point:
        size = bits = lost = 0.0
        for d in sorted({x.shape[1] for x in arrays}):
            x = np.concatenate([x for x in arrays if x.shape[1] == d])
            index = faiss.index_factory(d, f"{'RR' + str(d) if d & (d - 1) else 'HR'},{coder}")
            index.train(x[:4096])
            for part in np.array_split(x, -(-len(x) // 4096)):
                lost += energy(part - index.sa_decode(index.sa_encode(part)))
            bits, size = bits + 8 * index.sa_code_size() * len(x), size + x.size
        return [bits / size, lost / sum(map(energy, arrays))]

    def grouped(arrays: list[np.ndarray], kind: type, d: int, codes: int) -> Point:
        size = sum(x.size for x in arrays)
        x = np.concatenate([x.reshape(-1) for x in arrays])
        x = x[: size // d * d].reshape(-1, d)
        x = np.ascontiguousarray(x[:: -(-len(x) // MOST_GROUPS)])
        coder = kind(d, codes, 8)
        coder.train(x)
        lost = energy(x - coder.decode(coder.compute_codes(x))) / energy(x)
        return [8 * codes / d, lost, 32 * 256 * d * codes / size]

    found = {
        "faiss EDEN": {b: (lambda a, b=b: rotated(a, f"EDEN{b}")) for b in (1, 2, 3, 4, 6)},
        "faiss RaBitQ": {1: lambda a: rotated(a, "RaBitQ")},
    }
    for name, kind, shapes in zip(("PQ", "RQ"), (faiss.ProductQuantizer, faiss.ResidualQuantizer), GROUPS, strict=True):
        found[f"faiss {name}"] = {b: (lambda a, k=kind, s=shape: grouped(a, k, *s)) for b, shape in shapes.items()}
    return found


def cells(only: list[str] | None, source: str) -> dict[str, dict[float, Callable[[list[np.ndarray]], Point | None]]]:
    """What to measure on a source, by method and budget."""
    found: dict[str, dict[float, Callable[[list[np.ndarray]], Point | None]]] = {}
    for name, (method, options) in METHODS.items():
        budgets = UP_TO_1 if name == "residual" else FEW if source == ENCODER and name in SLOW else BUDGETS
        found[name] = {b: (lambda a, b=b, m=method, o=options: point(a, m, b, o)) for b in budgets}
    return {name: by for name, by in (found | faiss_codecs()).items() if only is None or name in only}


def measured(kept: Kept, source: str, arrays: list[np.ndarray], only: list[str] | None) -> dict[str, dict[float, Point | None]]:
    found: dict[str, dict[float, Point | None]] = {}
    for name, by in cells(only, source).items():
        found[name] = {b: kept.row(f"{source} | {name} | {b:g}", lambda at=at: at(arrays)) for b, at in by.items()}
    return found


def table(source: str, found: dict[str, dict[float, Point | None]]) -> None:
    print(f"\n| rho, {source} | " + " | ".join(f"B = {b:g}" for b in BUDGETS) + " |")
    print("|---|" + "---|" * len(BUDGETS))
    for name, points in found.items():
        if any(p and p[2:] for p in points.values()):
            line(f"{name}, codebooks not counted", {b: p and p[:2] for b, p in points.items()})
            line(f"{name}, codebooks counted", {b: p and [p[0] + p[2], p[1]] for b, p in points.items()})
        else:
            line(name, points)


def line(name: str, points: dict[float, Point | None]) -> None:
    rho = [p[1] * 4 ** p[0] if (p := points.get(b)) else None for b in BUDGETS]
    print(f"| {name} | " + " | ".join("" if r is None else f"{r:.3f}" if r < 10 else f"{r:.3g}" for r in rho) + " |")


def speed(rows: int, d: int) -> None:
    x = np.random.default_rng(0).standard_normal((rows, d)).astype(np.float32)
    print(f"\n{x.size / 1e6:.1f} M values, M values/s a core ({evenbits._core.isa()})\n\n| states | B | encoding | decoding |")
    print("|---|---|---|---|")
    for states in (4, 8, 32, 128, 256):
        for budget in (0.5, 1, 2, 4):
            best = [0.0, 0.0]
            for _ in range(3):
                start = time.thread_time()
                e = evenbits.quantize(x, method="entropy_trellis", budget=budget, states=states)
                middle = time.thread_time()
                e.decode()
                end = time.thread_time()
                best = [max(best[0], x.size / (middle - start) / 1e6), max(best[1], x.size / (end - middle) / 1e6)]
            print(f"| {states} | {budget:g} | {best[0]:.0f} | {best[1]:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--d", type=int, default=4096)
    parser.add_argument("--on", nargs="+", choices=[*LAWS, ENCODER], metavar="SOURCE", help=f"of: {', '.join([*LAWS, ENCODER])}")
    parser.add_argument("--methods", nargs="+", metavar="NAME")
    parser.add_argument("--json", metavar="FILE", help="save the figures; those it has are not made again")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: {arguments.rows} vectors of {arguments.d}, seed 0")
    if arguments.speed:
        speed(arguments.rows, arguments.d)
        return
    kept = Kept(arguments.json)
    for source, load in sources(arguments.rows, arguments.d).items():
        if arguments.on and source not in arguments.on:
            continue
        table(source, measured(kept, source, load(), arguments.methods))


if __name__ == "__main__":
    main()
