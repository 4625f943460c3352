"""Instructions a weight of 64 x 256 matrices at every width, and of trellises: python bench/embedded/instructions.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measure import TARGETS, measure

import evenbits
from evenbits.export import export_c

ROWS, COLUMNS = 64, 256
RATES = (1, 1.5, 2, 2.5, 3, 4)
BUILDS = (
    ("cortex-m0", ["-Os"]),
    ("cortex-m0", ["-O2"]),
    ("cortex-m4", ["-Os"]),
    ("cortex-m4", ["-O2"]),
    ("cortex-m4", ["-O2", "-DEVENBITS_PORTABLE"]),
    ("cortex-m33", ["-O2"]),
    ("cortex-m55", ["-O2"]),
)


def main() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    x = rng.integers(-127, 128, (4, COLUMNS))
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        inputs = {}
        for method, options in (("lloyd_max", {}), ("uniform", {"grid": "mid_rise"})):
            for bits in range(1, 9):
                name = f"{method}_{bits}"
                evenbits.save(directory / f"{name}.evb", {"0.weight": evenbits.quantize(weights, bits, method, **options)})
                export_c(directory / f"{name}.evb", directory, samples=x, input_scale=1, name=name)
                inputs[name] = x[0]
        for bits in RATES:
            name = f"trellis_{int(10 * bits)}"
            evenbits.save(directory / f"{name}.evb", {"0.weight": evenbits.quantize(weights, bits, "trellis", rotate=False)})
            export_c(directory / f"{name}.evb", directory, samples=x, input_scale=1, name=name)
            inputs[name] = x[0]
        for core, options in BUILDS:
            if TARGETS[core].missing():
                continue
            if core == "cortex-m0":  # whose board has no such clock: a Cortex-M3 that runs its code
                found = measure(TARGETS["cortex-m3"], directory, inputs, "-mcpu=cortex-m0", *options)
            else:
                found = measure(TARGETS[core], directory, inputs, *options)
            stack = max(size for name, (_, size) in found.items() if "trellis" not in name)
            for method in ("lloyd_max", "uniform"):
                a_weight = [f"{found[f'{method}_{bits}'][0] / (ROWS * COLUMNS):5.2f}" for bits in range(1, 9)]
                print(f"{core:11} {' '.join(options):24} {method:10}", *a_weight, f"  stack {stack}")
            trellises = {bits: found[f"trellis_{int(10 * bits)}"] for bits in RATES}
            a_weight = [f"{bits:g}: {count / (ROWS * COLUMNS):5.2f}" for bits, (count, _) in trellises.items()]
            deepest = max(size for _, size in trellises.values())
            print(f"{core:11} {' '.join(options):24} trellis   ", *a_weight, f"  stack {deepest}")


if __name__ == "__main__":
    main()
