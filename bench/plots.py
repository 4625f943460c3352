"""The picture of the Hadamard transform in bench/README.md: ``python bench/plots.py`` writes it beside this file.

Rows of n in cache and in memory, and one vector of n: nanoseconds an element against n, measured as ``compare.py`` does. The
physical limits drawn in: one pass that reads and writes the array, measured in the same run, and log2(n) additions an
element, of which a processor with two 512-bit adders does 32 a cycle. Needs matplotlib; fht-cpu is drawn if it is installed.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from compare import measure, pin, processor
from peers import Work, aligned, peer

import evenbits
from evenbits import _core

CACHE, MEMORY = 1 << 16, 1 << 25
ADDITIONS = 32


def transforms(elements: int, n: int, isas: list[str], rounds: int) -> dict[str, float]:
    """Nanoseconds an element of the transforms of rows of n, and of one pass."""
    x = aligned((elements // n, n))
    works: dict[str, Work] = {"one pass": lambda: np.multiply(x, 1, out=x)}
    for isa in isas:

        def work(isa: str = isa) -> None:
            _core.use_isa(isa)
            evenbits.hadamard_transform(x, out=x)

        works[f"evenbits {isa}"] = work
    if fht := peer("fht_cpu"):
        works["fht-cpu"] = lambda: fht.fht(x, num_threads=1)
    return {name: t / elements for name, t in measure(works, rounds).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gigahertz", type=float, help="the processor's clock: draws the limit of its adders")
    arguments = parser.parse_args()
    pin()
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    isas = [isa for isa in _core.available_isas() if isa != "avx512vbmi"]  # it transforms as avx512 does
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), sharey=True)
    for ax, title, elements, exponents in (
        (axes[0], f"rows of n, {CACHE >> 8} KiB", CACHE, range(4, 15)),
        (axes[1], f"rows of n, {MEMORY >> 18} MiB", MEMORY, range(4, 15)),
        (axes[2], "one vector of n", None, range(10, 25)),
    ):
        lengths = [1 << k for k in exponents]
        rows = [transforms(elements or n, n, isas, arguments.rounds) for n in lengths]
        for name in rows[0]:
            ours = name.startswith("evenbits")
            style = {"color": "0.5", "ls": "--"} if name == "one pass" else {"marker": "o" if ours else "s", "ms": 4}
            ax.plot(lengths, [row[name] for row in rows], label=name, **style)
        if arguments.gigahertz:
            limit = [math.log2(n) / ADDITIONS / arguments.gigahertz for n in lengths]
            ax.plot(lengths, limit, ":", color="0.5", label=f"{ADDITIONS} additions a cycle")
        ax.set(title=title, xlabel="n", xscale="log", yscale="log")
        ax.set_xscale("log", base=2)
        ax.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("ns an element")
    axes[0].legend(fontsize=8)
    figure.suptitle(f"Fast Hadamard transform, float32, one thread, {processor()}", fontsize=11)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("hadamard.png"), dpi=100)


if __name__ == "__main__":
    main()
