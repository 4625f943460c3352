"""How near methods come to the least error possible: rho = NMSE 4^B, all bits counted, on four laws.

    python bench/experiments/rate.py [--rows 64] [--d 4096] [--plot FILE] [--speed]

B are all bits of an encoded matrix of ``rows`` vectors: codes, scales, tables, the spec. rho is 1 for the best code that
a Gaussian can have, and for no rotated vector can it be less; values as they are can be coded with less where their law is
another (rotate=False). FAISS, where it is installed, with its rotation: EDEN and RaBitQ. ``--speed``: encoding and decoding,
one thread, thread CPU time, the least of three rounds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from distortion import LAWS

import evenbits

BUDGETS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6]
METHODS: list[tuple[str, str, dict[str, Any]]] = [
    *((f"entropy_trellis, {n} states", "entropy_trellis", {"states": n}) for n in (4, 8, 32, 128, 256)),
    ("entropy_trellis, 32 states, not rotated", "entropy_trellis", {"rotate": False}),
    ("dead_zone, not rotated", "dead_zone", {}),
    ("near_democratic (Lloyd-Max)", "near_democratic", {}),
    ("lloyd_max, k-means, not rotated", "lloyd_max", {"law": "empirical"}),
    ("uniform, optimal clip, not rotated", "uniform", {"grid": "mid_rise", "range": "optimal"}),
    ("kashin", "kashin", {}),
]


def point(x: np.ndarray, method: str, budget: float, options: dict[str, Any]) -> tuple[float, float] | None:
    """Bits a value and NMSE, or nothing if there is no such code."""
    try:
        e = evenbits.quantize(x, method=method, budget=budget, **options)
    except ValueError:
        return None
    return e.bits_per_value, e.error(x) ** 2


def faiss_points(x: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Bits a value, as its codes count them, and NMSE."""
    try:
        import faiss
    except ModuleNotFoundError:
        return {}
    faiss.omp_set_num_threads(1)
    d, found = x.shape[1], {}
    coders = {"faiss HR,EDEN": [f"HR,EDEN{bits}" for bits in (1, 2, 3, 4)], "faiss HR,RaBitQ": ["HR,RaBitQ"]}
    for name, factories in coders.items():
        found[name] = []
        for factory in factories:
            index = faiss.index_factory(d, factory)
            index.train(x)
            y = index.sa_decode(index.sa_encode(x))
            found[name].append((8 * index.sa_code_size() / d, float(np.square(x - y).sum() / np.square(x).sum())))
    return found


def results(rows: int, d: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    out: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for law, draw in LAWS.items():
        x = draw(np.random.default_rng(0), (rows, d)).astype(np.float32)
        out[law] = {}
        for name, method, options in METHODS:
            found = [point(x, method, budget, options) for budget in BUDGETS]
            out[law][name] = [p for p in found if p is not None and p[0] > 0.03]
        out[law] |= faiss_points(x)
    return out


def plot(found: dict[str, dict[str, list[tuple[float, float]]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(15, 4.6), sharey=True, layout="constrained")
    for axis, (law, methods) in zip(axes, found.items(), strict=True):
        axis.axhline(1, color="k", linestyle="--", label="limit (Gaussian)")
        for name, points in methods.items():
            if "4 states" in name or "256" in name or not points:
                continue
            bits, error = np.array(points).T
            axis.plot(bits, error * 4**bits, "o-" if len(points) > 1 else "s", label=name, markersize=4)
        axis.set(title=law.replace("^3", "³"), xlabel="bits a value, all counted", ylim=(0, 3.5), xlim=(0, 4.2))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ρ = |x − x'|² / |x|² · 4^B")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=120)


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
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: {arguments.rows} vectors of {arguments.d}, seed 0")
    if arguments.speed:
        speed(arguments.rows, arguments.d)
        return
    found = results(arguments.rows, arguments.d)
    for law, methods in found.items():
        print(f"\n| rho, {law} | " + " | ".join(f"B = {b:g}" for b in BUDGETS) + " |")
        print("|---|" + "---|" * len(BUDGETS))
        for name, points in methods.items():
            at = {min(BUDGETS, key=lambda b, bits=bits: abs(b - bits)): error * 4**bits for bits, error in points}
            print(f"| {name} | " + " | ".join(f"{at[b]:.3f}" if b in at else "" for b in BUDGETS) + " |")
    if arguments.plot:
        plot(found, arguments.plot)


if __name__ == "__main__":
    main()
