"""Levels of embeddings against redundancy: |a|_inf sqrt(n) / |x|, 1 at best, and what the theory says of them.

    python bench/experiments/levels.py [--d 4096] [--vectors 6] [--plot FILE]

The bare rotation S^T x, Lyubarskii and Vershynin's iteration (16 steps), the least maximum (Douglas and Rachford's), and
``evenbits.bounds.democratic_level``, the limit of the last for random frames and long vectors. The mean over vectors of three
laws, which a rotation makes alike; redundancy is that of the frame, whose length is a Hadamard matrix's.
"""

from __future__ import annotations

import argparse

import numpy as np

import evenbits
from evenbits.bounds import democratic_level, near_democratic_level
from evenbits.embedding import Frame, level

REDUNDANCIES = [1.05, 1.1, 1.25, 1.5, 2, 3, 4]
LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian^3": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student t2": lambda rng, shape: rng.standard_t(2, shape),
}


def measure(x: np.ndarray, redundancy: float) -> dict[str, float]:
    frame = Frame.of_redundancy(x.shape[1], redundancy, 0)
    least = {
        f"least maximum, {steps} steps": evenbits.democratic_embedding(
            x, redundancy=redundancy, seed=0, solver="exact", iterations=steps
        )
        for steps in (100, 400)
    }
    kashin = evenbits.democratic_embedding(x, redundancy=redundancy, seed=0)
    found = {"bare rotation": frame.analyse(x), "Lyubarskii and Vershynin": kashin} | least
    result = {"redundancy": frame.n / frame.d} | {name: float(level(a, x).mean()) for name, a in found.items()}
    return result | {"theory of the least": democratic_level(frame.n / frame.d)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d", type=int, default=4096)
    parser.add_argument("--vectors", type=int, default=6)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    shape = (arguments.vectors, arguments.d)
    x = np.concatenate([draw(np.random.default_rng(0), shape) for draw in LAWS.values()]).astype(np.float32)
    rows = [measure(x, r) for r in REDUNDANCIES]
    print(f"evenbits {evenbits.__version__}: {len(x)} vectors of {arguments.d}", end="; ")
    print(f"a bare rotation stays below {near_democratic_level(arguments.d):.2f} with probability 1 - 1 / {2 * arguments.d}\n")
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.3f}" for v in row.values()) + " |")
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4.5), layout="constrained")
    redundancy = np.linspace(1.02, 4.2, 200)
    axis.plot(redundancy, [democratic_level(r) for r in redundancy], "k--", label="theory of the least")
    for name in list(rows[0])[1:-1]:
        axis.plot([row["redundancy"] for row in rows], [row[name] for row in rows], "o-", label=name, markersize=4)
    axis.set(xlabel="redundancy n / d", ylabel="level |a|∞ √n / |x|", ylim=(1, None))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
