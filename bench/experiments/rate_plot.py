"""Pictures of what ``rate.py --json`` has found: rho against bits, one panel for Gaussian vectors, five for all sources.

python bench/experiments/rate_plot.py rate.json [--one bench/experiments/rate.png] [--all bench/experiments/rate_laws.png]
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib
from kept import Kept

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS = {
    "entropy_trellis, 128 states": ("#0b3c8c", "o-"),
    "entropy_trellis, 8 states": ("#1f77d4", "o-"),
    "entropy_trellis, 8 states, not rotated": ("#1f77d4", "o:"),
    "trellis, memory 16": ("#b3310b", "D-"),
    "trellis": ("#f0803c", "D-"),
    "kashin": ("#2a8a3e", "v-"),
    "sign_frame": ("#8e44ad", "^-"),
    "near_democratic": ("#111111", "s-"),
    "dead_zone, not rotated": ("#c2185b", "P:"),
    "lloyd_max, k-means, not rotated": ("#8c6d31", "s:"),
}
PEERS = {
    "faiss EDEN": "X",
    "faiss RaBitQ": "*",
    "faiss PQ": "h",
    "faiss RQ": "<",
}
GREY = "#8a8a8a"
SOURCES = ("gaussian", "gaussian^3", "student t2", "sparse 1 %", "MiniLM")
LABELS = {  # in the single panel: the text, where it stands by bits and rho, and on which side of that
    "entropy_trellis, 128 states": ("entropy_trellis, 128 states", 4.1, 1.05, "left"),
    "entropy_trellis, 8 states": ("entropy_trellis, 8 states", 4.1, 1.135, "left"),
    "trellis, memory 16": ("trellis, memory 16", 4.1, 1.23, "left"),
    "trellis": ("trellis", 4.1, 1.315, "left"),
    "dead_zone, not rotated": ("dead_zone", 4.1, 1.44, "left"),
    "kashin": ("kashin", 4.1, 2.24, "left"),
    "sign_frame": ("sign_frame", 3.2, 2.5, "right"),
    "near_democratic": ("near_democratic", 4.1, 2.52, "left"),
    "faiss EDEN": ("FAISS EDEN, RaBitQ", 0.95, 2.36, "center"),
    "faiss PQ": ("FAISS PQ, its codebook free", 4.1, 2.13, "left"),
    "faiss RQ": ("FAISS RQ, codebooks free", 4.1, 1.98, "left"),
}


def points(rows: dict[str, Any], source: str, name: str) -> list[tuple[float, float]]:
    """Bits and rho; codebooks are not counted."""
    found = [p for key, p in rows.items() if key.startswith(f"{source} | {name} | ") and p]
    return sorted((bits, error * 4**bits) for bits, error, *_ in found)


def one(rows: dict[str, Any], path: str) -> None:
    figure, axis = plt.subplots(figsize=(8, 5.2), layout="constrained")
    axis.axhline(1, color="k", linewidth=1.5, linestyle="--")
    axis.text(0.03, 0.965, "the least possible", fontsize=11, va="top")
    for name, (label, x, y, side) in LABELS.items():
        strong = name in OURS
        colour, style = OURS.get(name, (GREY, PEERS.get(name, "") + ":"))
        least = 0.9 if name in ("faiss PQ", "faiss RQ") else 0  # below, large codebooks learn so few values by heart
        bits, rho = zip(*(p for p in points(rows, "gaussian", name) if least < p[0] < 4.1), strict=True)
        axis.plot(bits, rho, style, color=colour, markersize=6, linewidth=2 if strong else 1, zorder=3 if strong else 2)
        axis.text(x, y, label, color=colour if strong else "#666666", fontsize=11, va="center", ha=side)
    ticks = {0.25: "¼", 0.5: "½", 1: "1", 1.5: "1½", 2: "2", 3: "3", 4: "4"}
    axis.set(xlim=(0, 5.9), ylim=(0.88, 2.6), xticks=list(ticks), xticklabels=list(ticks.values()))
    axis.set_xlabel("bits a value, everything counted", fontsize=12)
    axis.set_ylabel("squared error / least possible", fontsize=12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def all_sources(rows: dict[str, Any], path: str) -> None:
    figure, axes = plt.subplots(1, len(SOURCES), figsize=(17, 5), sharey=True, layout="constrained")
    for axis, source in zip(axes, SOURCES, strict=True):
        axis.axhline(1, color="k", linestyle="--", label="limit (Gaussian)")
        for name in (*OURS, *PEERS):
            colour, style = OURS.get(name, (GREY, PEERS.get(name, "") + ":"))
            found = points(rows, source, name)
            if found:
                axis.plot(*zip(*found, strict=True), style, color=colour, markersize=4 if name in OURS else 6, label=name)
        axis.set(title=source.replace("^3", "³"), xlabel="bits a value, all counted", ylim=(0, 3), xlim=(0, 4.3))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ρ = |x − x'|² / |x|² · 4^B")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", metavar="FILE")
    parser.add_argument("--one", metavar="FILE", default="bench/experiments/rate.png")
    parser.add_argument("--all", metavar="FILE", default="bench/experiments/rate_laws.png")
    arguments = parser.parse_args()
    rows = Kept(arguments.json).rows
    one(rows, arguments.one)
    if any(key.startswith(SOURCES[-1]) for key in rows):
        all_sources(rows, arguments.all)


if __name__ == "__main__":
    main()
