"""The bundled model: a small classifier of handwritten digits, to see what each method costs in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import as_file, files

import numpy as np

from evenbits._arrays import Array
from evenbits._tensorfile import open_file
from evenbits.encoded import decode
from evenbits.models.plan import Rate
from evenbits.quantizers import methods, quantize
from evenbits.quantizers.base import NoSuchRateError

RATES: tuple[Rate, ...] = (Fraction(1, 2), 1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Digits:
    """The layers' weights (outputs × inputs) and biases, with ReLU between them, and 8 × 8 images to classify."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    images: Array
    labels: Array

    def accuracy(self, weights: Sequence[Array] | None = None) -> float:
        """The share of the images that the network with these weights (default: its own) tells right."""
        x = self.images / 16.0
        for layer, (weight, bias) in enumerate(zip(weights or self.weights, self.biases, strict=True)):
            x = (np.maximum(x, 0) if layer else x) @ weight.T.astype(np.float64) + bias
        return float(np.mean(x.argmax(axis=1) == self.labels))


@dataclass(frozen=True)
class Trial:
    """One method at one code rate: the mean over the seeds."""

    method: str
    bits: Rate
    bits_per_value: float
    error: float
    accuracy: float


def load_digits() -> Digits:
    """The model as it ships with the package."""
    with as_file(files("evenbits") / "data" / "digits.safetensors") as path:
        tensors = {name: tensor.array() for name, tensor in open_file(path)[0].items()}
    layers = range(sum(name.endswith(".weight") for name in tensors))
    weights = tuple(tensors[f"{i}.weight"] for i in layers)
    return Digits(weights, tuple(tensors[f"{i}.bias"] for i in layers), tensors["images"], tensors["labels"])


def trials(
    digits: Digits,
    names: Sequence[str] | None = None,
    rates: Sequence[Rate] = RATES,
    *,
    seeds: Sequence[int] = range(5),
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[Trial]:
    """Quantize the three matrices by every method at every rate that it has. Bits a value count all side information."""
    names = list(methods()) if names is None else names
    values = sum(weight.size for weight in digits.weights)
    norm = sum(float(np.sum(weight.astype(np.float64) ** 2)) for weight in digits.weights)
    for done, (name, bits) in enumerate([(name, bits) for name in names for bits in rates]):
        if progress:
            progress(done, len(names) * len(rates), f"{name}, {float(bits):g} bits")
        accuracy, size, squares = 0.0, 0, 0.0
        for seed in seeds:
            try:
                codes = [quantize(weight, bits, name, seed=seed) for weight in digits.weights]
            except NoSuchRateError:
                break
            decoded = [decode(code) for code in codes]
            accuracy += digits.accuracy(decoded)
            size += sum(code.nbytes for code in codes)
            squares += sum(
                float(np.sum((weight.astype(np.float64) - back) ** 2))
                for weight, back in zip(digits.weights, decoded, strict=True)
            )
        else:
            count = len(seeds)
            yield Trial(name, bits, 8 * size / count / values, (squares / count / norm) ** 0.5, accuracy / count)
