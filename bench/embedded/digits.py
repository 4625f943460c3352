"""The digits network on microcontrollers, beside TensorFlow Lite Micro and emlearn.

    python bench/embedded/digits.py

needs arm-none-eabi-gcc, qemu-system-arm and scikit-learn, and for the peers tflite-micro, flatbuffers, emlearn and valgrind.
Ranges of activations, and the seed among ten, come from the training images; accuracy is that on the 500 test images.
Instructions of a Cortex-M are those that QEMU executes; TensorFlow Lite Micro is on PyPI for x86-64 alone, so it and
evenbits are also counted there, by callgrind.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tflm
from measure import TARGETS, measure
from sklearn.datasets import load_digits as sklearn_digits

import evenbits
from evenbits.export import export_c
from evenbits.export.c import prepare
from evenbits.export.source import real_text
from evenbits.models import quantize_model
from evenbits.models.digits import load_digits

DATA = Path(evenbits.__file__).parent / "data" / "digits.safetensors"
SEEDS, TEST = range(10), 500
RATES = {"trellis": (1, 1.5, 2, 2.5, 3), "near_democratic": (1, 2, 3, 4, 8), "uniform": (2, 3, 4, 8)}


USES_ALL = """#include "model.h"
int main(void) { return model_selftest((model_memory *)0x20000000); }
"""
HOST = """#include <stdlib.h>
#include "model.h"
int main(int count, char **words) {
  static model_memory memory;
  int8_t x[64] = {%s};
  int32_t y[10];
  for (int i = atoi(words[count - 1]); i; i--) model_run(&memory, x, y);
  return 0;
}
"""
EMLEARN_C = """
#include "model.h"
void model_run(model_memory *m, const float *x, float *y) {
  (void)m;
  eml_net_predict_proba(&net, x, 64, y, 10);
}
int model_selftest(model_memory *m) {
  static const float x[64] = {%s};
  float y[10];
  model_run(m, x, y);
  return (int)y[0];
}
"""
EMLEARN_H = """#include <stdint.h>
typedef float model_input;
typedef float model_output;
typedef struct { char none; } model_memory;
#define MODEL_INPUTS 64
#define MODEL_OUTPUTS 10
void model_run(model_memory *m, const float *x, float *y);
int model_selftest(model_memory *m);
"""


def training_images() -> np.ndarray:
    """The images that the bundled network was trained on: tools/train_digits.py."""
    data = sklearn_digits().data
    return data[np.random.default_rng(0).permutation(len(data))].astype(np.uint8)[:-TEST]


def size_of(objects: list[Path]) -> int:
    lines = subprocess.run(["arm-none-eabi-size", *objects], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return sum(int(line.split()[0]) + int(line.split()[1]) for line in lines)


def flash(directory: Path, target: Any, sources: list[Path], *options: str) -> int:
    """Bytes of flash of all that a program keeps of these sources, code and data: those of an empty program off."""
    sizes = []
    for name, text in (("with", USES_ALL), ("without", "int main(void) { return 0; }")):
        (directory / name).mkdir(exist_ok=True)
        main = directory / name / "main.c"
        main.write_text(text)
        used = sources if name == "with" else []
        program = target.build([main, *used], directory / f"{name}.elf", f"-I{directory}", *options)
        sizes.append(size_of([program]))
    return sizes[0] - sizes[1]


def callgrind(*command: object) -> int:
    options = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
    done = subprocess.run(["valgrind", *options, *map(str, command)], capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found
    return int(found[1])


def row(what: str, accuracy: str, **numbers: object) -> None:
    print(f"{what:34} {accuracy:>18}", *[f"{key} {value}" for key, value in numbers.items()], sep="  ", flush=True)


def ours(directory: Path, images: np.ndarray, digits: Any) -> None:
    for method, bits in ((method, bits) for method, rates in RATES.items() for bits in rates):
        found = []
        for seed in SEEDS if method != "uniform" else (0,):
            file = directory / f"{method}{bits}{seed}.safetensors"
            quantize_model(DATA, file, bits=bits, method=method, seed=seed)
            ready = prepare(file, samples=images, input_scale="1/16")
            y = ready.run(ready.inputs) * ready.planned.layers[-1].output_scale
            x = images / 16
            for i, (w, b) in enumerate(zip(digits.weights, digits.biases, strict=True)):
                x = (np.maximum(x, 0) if i else x) @ w.T.astype(np.float64) + b
            right = np.mean(ready.run(digits.images.astype(np.int64)).argmax(axis=1) == digits.labels)
            found.append((float(np.sum((y - x) ** 2)), right, file))
        mean = np.mean([right for _, right, _ in found])
        _, right, file = min(found)
        out = directory / f"{method}{bits}"
        report = export_c(file, out, samples=images, input_scale="1/16")
        sources = [out / "model.c", out / "evenbits_decode.c"]
        total = flash(out, TARGETS["cortex-m4"], sources, "-Os")
        numbers: dict[str, object] = {"weights": report["flash_bytes"], "flash": total, "RAM": report["ram_bytes"]}
        x = digits.images[0].astype(np.int64)
        for core, level in (("cortex-m4", "-O2"), ("cortex-m4", "-Os"), ("cortex-m0", "-O2")):
            run = TARGETS["cortex-m3" if core == "cortex-m0" else core]
            extra = ["-mcpu=cortex-m0"] if core == "cortex-m0" else []
            count, stack = measure(run, out, {"model": x}, *extra, level)["model"]
            numbers[f"{core[7:]} {level}"] = f"{count:.0f} (stack {stack})"
        main = directory / "main.c"
        main.write_text(HOST % ",".join(map(str, x)))
        subprocess.run(["cc", "-O2", f"-I{out}", main, *sources, "-o", directory / "host"], check=True)
        if shutil.which("valgrind"):
            numbers["x86"] = (callgrind(directory / "host", 101) - callgrind(directory / "host", 1)) // 100
        row(f"evenbits {method} {bits:g} bits", f"{right:.1%} (mean {mean:.1%})", **numbers)


def peers(directory: Path, images: np.ndarray, digits: Any) -> None:
    if importlib.util.find_spec("tflite_micro"):
        for bits in (8, 4):
            data = tflm.model(digits, images, bits)
            file = directory / f"{bits}.tflite"
            file.write_bytes(data)
            right = np.mean(tflm.answers(data, digits.images).argmax(axis=1) == digits.labels)
            count = None
            if shutil.which("valgrind"):
                program = (sys.executable, Path(__file__).parent / "tflm.py", file)
                count = (callgrind(*program, 1001) - callgrind(*program, 1)) // 1000
            row(f"TensorFlow Lite Micro int{bits}", f"{right:.1%}", file=len(data), arena=tflm.arena(str(file)), x86=count)
    if importlib.util.find_spec("emlearn"):
        import emlearn
        from emlearn.net import c_generate_net_loadable

        out = directory / "emlearn"
        out.mkdir()
        weights, activations = [w.T for w in digits.weights], ["relu", "relu", "softmax"]
        code = c_generate_net_loadable(activations, weights, list(digits.biases), prefix="net")
        values = ",".join(real_text(v / 16) for v in digits.images[0])
        (out / "model.c").write_text(code + EMLEARN_C % values)
        (out / "model.h").write_text(EMLEARN_H)
        include = [f"-I{Path(emlearn.__file__).parent}", "-w", "-std=gnu99"]
        numbers: dict[str, object] = {"flash": flash(out, TARGETS["cortex-m4"], [out / "model.c"], "-Os", *include)}
        for core in ("cortex-m4", "cortex-m3"):
            count, stack = measure(TARGETS[core], out, {"model": digits.images[0] / 16}, "-O2", *include, times=5)["model"]
            numbers[core[7:]] = f"{count:.0f} (stack {stack})"
        row("emlearn, floats", f"{digits.accuracy():.1%}", **numbers)


def main() -> None:
    digits, images = load_digits(), training_images()
    print(f"float32 {digits.accuracy():.1%}")
    with tempfile.TemporaryDirectory() as temporary:
        peers(Path(temporary), images, digits)
        ours(Path(temporary), images, digits)


if __name__ == "__main__":
    main()
