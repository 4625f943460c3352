"""Instructions and stack of exported networks on emulated Cortex-M: QEMU counts every instruction as one tick of its clock.

Instructions, not cycles: an emulator has no pipeline and no wait states. The figures are the same in every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "embedded"))

from targets import CORES, Target

TICK = {"cortex-m33": 50, "cortex-m55": 31.25}  # instructions, at a nanosecond each, a tick of the board's clock; others 40
TARGETS = {target.name: target for target in CORES}

MAIN = r"""
#include <stdio.h>
%(includes)s
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define PAINTED 2048
static uint32_t used(void (*run)(void)) { /* bytes of stack that a call writes to */
  volatile uint8_t *end, *p;
  __asm__ volatile("mov %%0, sp" : "=r"(end));
  for (p = end - PAINTED; p < end; p++) *p = 0xA5;
  run();
  for (p = end - PAINTED; p < end && *p == 0xA5; p++) {
  }
  return (uint32_t)(end - p);
}
%(functions)s
int main(void) {
  uint32_t begin, ticks;
  SYST_RVR = 0xFFFFFF, SYST_CVR = 0, SYST_CSR = 5;
%(calls)s
  return 0;
}
"""
FUNCTION = """
static {name}_memory memory_{name};
static {name}_input x_{name}[{big}_INPUTS] = {{{values}}};
static {name}_output y_{name}[{big}_OUTPUTS];
static void run_{name}(void) {{ {name}_run(&memory_{name}, x_{name}, y_{name}); }}"""
CALL = """  begin = SYST_CVR;
  for (int i = 0; i < {times}; i++) run_{name}();
  ticks = (begin - SYST_CVR) & 0xFFFFFFu;
  printf("{name} %lu %lu\\n", (unsigned long)ticks, (unsigned long)used(run_{name}));"""


def measure(
    target: Target, directory: Path, inputs: dict[str, np.ndarray], *options: str, times: int = 20
) -> dict[str, tuple[float, int]]:
    """Instructions and bytes of stack a run, of the networks exported to ``directory`` by their names, with these inputs."""
    parts = {"includes": "", "functions": "", "calls": ""}
    for name, x in inputs.items():
        fill = {"name": name, "big": name.upper(), "values": ",".join(map(str, x.tolist())), "times": times}
        parts["includes"] += f'#include "{name}.h"\n'
        parts["functions"] += FUNCTION.format(**fill)
        parts["calls"] += CALL.format(**fill) + "\n"
    (directory / "main.c").write_text(MAIN % parts)
    sources = sorted(directory.glob("*.c"))
    program = target.build(sources, directory / f"{target.name}.elf", "-Wno-pedantic", "-std=gnu99", *options)
    lines = target.run(program, "-icount", "shift=0").split("\n")[:-1]
    return {name: (int(ticks) * TICK.get(target.name, 40) / times, int(stack)) for name, ticks, stack in map(str.split, lines)}
