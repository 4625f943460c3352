"""How fast each method encodes and decodes: million values a second on one core, rows of 4096, through Python.

    taskset -c 0 python bench/experiments/speed.py [--seconds 2] [--plot FILE]

Gaussian float32 rows, as many as take a fraction of a second; processor time of the thread, the least of at least 3 rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import evenbits

D, ROWS = 4096, 256
RATES = [1, 2, 3, 4]
METHODS: dict[str, tuple[str, dict[str, Any], int]] = {
    "uniform": ("uniform", {}, ROWS),
    "uniform, 32 a scale": ("uniform", {"per": 32}, ROWS),
    "uniform, optimal clip": ("uniform", {"range": "optimal", "grid": "mid_rise"}, ROWS),
    "lloyd_max": ("lloyd_max", {}, ROWS),
    "lloyd_max, k-means": ("lloyd_max", {"law": "empirical"}, ROWS),
    "near_democratic": ("near_democratic", {}, ROWS),
    "near_democratic, stochastic": ("near_democratic", {"rounding": "stochastic"}, ROWS),
    "democratic 1.25": ("democratic", {}, ROWS),
    "democratic 2": ("democratic", {"redundancy": 2}, ROWS),
    "democratic 1.05, exact": ("democratic", {"redundancy": 1.05, "solver": "exact"}, 32),
    "sign_frame": ("sign_frame", {}, 64),
    "kashin": ("kashin", {}, ROWS),
    "kashin, alternating (2026)": ("kashin", {"refine": False}, ROWS),
    "kashin, greedy and joint (2024)": ("kashin", {"refine": False, "schedule": "greedy", "clusters": "joint"}, ROWS),
}


def least(work: Callable[[], object], seconds: float) -> float:
    """Processor seconds of the fastest round."""
    rounds: list[float] = []
    while len(rounds) < 3 or sum(rounds) < seconds:
        start = time.thread_time()
        work()
        rounds.append(time.thread_time() - start)
    return min(rounds)


def speeds(method: str, options: dict[str, Any], rows: int, seconds: float) -> tuple[list[float], float]:
    """Of encoding at each rate, and of decoding at the last: values a microsecond."""
    x = np.random.default_rng(0).standard_normal((rows, D)).astype(np.float32)
    encode = [x.size / least(lambda b=b: evenbits.quantize(x, b, method, **options), seconds) / 1e6 for b in RATES]
    coded = evenbits.quantize(x, RATES[-1], method, **options)
    return encode, x.size / least(coded.decode, seconds) / 1e6


def plot(rows: dict[str, tuple[list[float], float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    places = np.arange(len(rows))
    for i, bits in enumerate(RATES):
        axis.barh(places + 0.2 * i - 0.3, [encode[i] for encode, _ in rows.values()], 0.2, label=f"encode, {bits} bits")
    axis.plot([decode for _, decode in rows.values()], places, "kD", markersize=4, label=f"decode, {RATES[-1]} bits")
    axis.set(xscale="log", xlabel="million values a second, one core", yticks=places, yticklabels=list(rows))
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x", which="both")
    figure.legend(fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: million values a second, rows of {D}\n")
    print("| | " + " | ".join(f"encode {b}" for b in RATES) + f" | decode {RATES[-1]} |\n|---|" + "---|" * (len(RATES) + 1))
    rows = {}
    for name, (method, options, count) in METHODS.items():
        encode, decode = rows[name] = speeds(method, options, count, arguments.seconds)
        print(f"| {name} | " + " | ".join(f"{v:.0f}" if v > 100 else f"{v:.3g}" for v in (*encode, decode)) + " |", flush=True)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
