"""Distortion of every method at equal index bits on four laws: NMSE = mean of |x - x'|^2 / |x|^2 over vectors of d = 4096.

    python bench/experiments/distortion.py [--vectors 40] [--plot FILE]

Laws: Gaussian, Gaussian cubed, Student's t with 2 degrees of freedom, 1 % sparse Gaussian. ``bits`` counts index bits a
value; on top come a float32 scale a vector (32 / 4096 = 0.008 bits a value), for k-means and kashin a codebook of 2^B floats
or a few more, and the spec, once an array. The limit is Shannon's for a Gaussian, 2^(-2 B): what any code of Gaussian vectors
can reach at best, and what a rotated vector of any law can hope for.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import evenbits

LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian^3": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student t2": lambda rng, shape: rng.standard_t(2, shape),
    "sparse 1 %": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.01),
}
RATES = [0.5, 1, 1.5, 2, 3, 4]
METHODS: list[tuple[str, str, dict[str, Any]]] = [
    ("uniform, absmax, stochastic", "uniform", {"rounding": "stochastic", "fit": "unbiased"}),
    ("uniform, absmax", "uniform", {"grid": "mid_rise"}),
    ("uniform, absmax, mid-tread", "uniform", {}),
    ("uniform, absmax, least squares", "uniform", {"grid": "mid_rise", "fit": "least_squares"}),
    ("uniform, optimal clip", "uniform", {"grid": "mid_rise", "range": "optimal"}),
    ("lloyd_max, Gaussian", "lloyd_max", {}),
    ("lloyd_max, Laplacian", "lloyd_max", {"law": "laplacian"}),
    ("lloyd_max, k-means", "lloyd_max", {"law": "empirical"}),
    ("near_democratic, stochastic", "near_democratic", {"rounding": "stochastic"}),
    ("near_democratic, absmax", "near_democratic", {"levels": "uniform", "range": "absmax", "fit": "range"}),
    ("near_democratic, absmax, least squares", "near_democratic", {"levels": "uniform", "range": "absmax"}),
    ("near_democratic, optimal clip", "near_democratic", {"levels": "uniform", "fit": "range"}),
    ("near_democratic (Lloyd-Max)", "near_democratic", {}),
    ("near_democratic, unbiased", "near_democratic", {"fit": "unbiased"}),
    *(
        (f"democratic {r}{name}", "democratic", {"redundancy": r, **options})
        for r in (1.25, 1.5, 2)
        for name, options in ((", range", {"fit": "range"}), ("", {}), (", stochastic", {"rounding": "stochastic"}))
    ),
    ("democratic 1.05, exact", "democratic", {"redundancy": 1.05, "solver": "exact"}),
    ("democratic 1.1, exact", "democratic", {"redundancy": 1.1, "solver": "exact"}),
    ("sign_frame", "sign_frame", {}),
    ("kashin", "kashin", {}),
    ("kashin, alternating (2026)", "kashin", {"refine": False}),
    ("kashin, greedy and joint (2024)", "kashin", {"refine": False, "schedule": "greedy", "clusters": "joint"}),
    ("the same, not rotated", "kashin", {"refine": False, "schedule": "greedy", "clusters": "joint", "rotate": False}),
]


def nmse(x: np.ndarray, method: str, bits: float, options: dict[str, Any]) -> float:
    """Mean over the rows of x, each encoded by itself with a seed of its own."""
    total = 0.0
    for seed, row in enumerate(x):
        y = evenbits.decode(evenbits.quantize(row, bits, method, seed=seed, **options))
        total += float(((row - y) ** 2).sum() / (row**2).sum())
    return total / len(x)


def table(vectors: int, d: int) -> dict[str, dict[str, list[float]]]:
    results: dict[str, dict[str, list[float]]] = {"limit 2^(-2B)": {law: [4.0**-b for b in RATES] for law in LAWS}}
    for name, method, options in METHODS:
        results[name] = {}
        for law, draw in LAWS.items():
            x = draw(np.random.default_rng(0), (vectors, d))
            results[name][law] = [nmse(x, method, b, options) for b in RATES]
    return results


def plot(results: dict[str, dict[str, list[float]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(LAWS), figsize=(15, 4.8), sharey=True, layout="constrained")
    shown = [
        "uniform, absmax, mid-tread",
        "uniform, optimal clip",
        "lloyd_max, k-means",
        "near_democratic (Lloyd-Max)",
        "democratic 1.05, exact",
        "democratic 2",
        "sign_frame",
        "kashin",
        "kashin, alternating (2026)",
        "kashin, greedy and joint (2024)",
    ]
    for axis, law in zip(axes, LAWS, strict=True):
        axis.semilogy(RATES, results["limit 2^(-2B)"][law], "k--", label="limit (Gaussian)")
        for name in shown:
            axis.semilogy(RATES, results[name][law], "o-", label=name, markersize=4, zorder=3 if name.startswith("near") else 2)
        axis.set(title=law.replace("^3", "³"), xlabel="index bits a value", ylim=(1e-3, 3))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("|x − x'|² / |x|²")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=40)
    parser.add_argument("--d", type=int, default=4096)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    results = table(arguments.vectors, arguments.d)
    print(f"evenbits {evenbits.__version__}: {arguments.vectors} vectors of {arguments.d}, seed 0")
    for law in LAWS:
        print(f"\n| {law} | " + " | ".join(f"B = {b:g}" for b in RATES) + " |")
        print("|---|" + "---|" * len(RATES))
        for name, values in results.items():
            print(f"| {name} | " + " | ".join(f"{v:.4g}" for v in values[law]) + " |")
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
