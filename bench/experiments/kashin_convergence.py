"""How fast x = u + P v is found, by the kind of P, the law of x and the schedule: what is left of x against steps.

    python bench/experiments/kashin_convergence.py [--vectors 8] [--plot FILE]

Vectors of 1024 values. |x - u - P v| / |x| as the steps have it, in single precision. The table has the first step at which
no vector has more than 1e-6 left, or, where 400 steps are not enough, what is left of the worst. "32 x 32" are the Kronecker
products of the papers' matrix form. A greedy step goes along the basis with the larger mean magnitude, an alternating one
along u, u, v, v. Takes scipy for the cosine transform.
"""

from __future__ import annotations

import argparse

import numpy as np
from distortion import LAWS

import evenbits
from evenbits.orthogonal import Transform, transform_of

D, MOST, TOLERANCE = 1024, 400, 1e-6
SHOWN = [*range(0, 40, 2), *range(40, 100, 10), *range(100, MOST + 1, 50)]
SCHEDULES = ("greedy", "alternating")
TRANSFORMS = {
    "involution": transform_of("involution", (D,), 0),
    "cosines": transform_of("dct", (D,), 0),
    "butterfly": transform_of("butterfly", (D,), 0),
    "dense": transform_of("dense", (D,), 0),
    "Householder": transform_of("householder", (D,), 0),
    "involution, 32 x 32": transform_of("involution", (32, 32), 0),
    "dense, 32 x 32": transform_of("dense", (32, 32), 0),
}


def left(transform: Transform, x: np.ndarray, schedule: str, steps: int) -> float:
    """What so many steps leave of the worst vector."""
    return float(transform.split(x, schedule, steps, 0.0)[2].max())


def first_step(transform: Transform, x: np.ndarray, schedule: str) -> str:
    """The first step within the tolerance; residuals never grow."""
    at_last = left(transform, x, schedule, MOST)
    if at_last > TOLERANCE:
        return f"({at_last:.1e})"
    low, high = 0, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left(transform, x, schedule, middle) <= TOLERANCE else (middle, high)
    return str(high)


def plot(laws: dict[str, np.ndarray], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(laws), figsize=(15, 4.8), sharey=True, layout="constrained")
    for axis, (law, x) in zip(axes, laws.items(), strict=True):
        for i, (name, transform) in enumerate(TRANSFORMS.items()):
            for schedule, style in zip(SCHEDULES, ("-", ":"), strict=True):
                values = [max(left(transform, x, schedule, steps), 1e-8) for steps in SHOWN]
                axis.loglog(np.array(SHOWN) + 1, values, style, color=f"C{i}", label=name if style == "-" else None)
        axis.set(title=law.replace("^3", "³"), xlabel="steps + 1 (dotted: alternating)", ylim=(5e-8, 1.2))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("|x − u − P v| / |x|, worst vector")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=len(TRANSFORMS), loc="outside lower center")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    shape = (arguments.vectors, D)
    laws = {name: draw(np.random.default_rng(0), shape).astype(np.float32) for name, draw in LAWS.items()}
    laws["one spike"] = np.eye(1, D, 5, dtype=np.float32)
    print(f"evenbits {evenbits.__version__}: {arguments.vectors} vectors of {D}, steps to {TOLERANCE:g}, greedy / alternating\n")
    print("| | " + " | ".join(laws) + " |\n|---|" + "---|" * len(laws))
    for name, transform in TRANSFORMS.items():
        cells = [" / ".join(first_step(transform, x, schedule) for schedule in SCHEDULES) for x in laws.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if arguments.plot:
        plot({law: x for law, x in laws.items() if law in LAWS}, arguments.plot)


if __name__ == "__main__":
    main()
