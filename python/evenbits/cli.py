"""The command ``evenbits``: files in, files out, tables to read or JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NoReturn

INTERRUPTED, BROKEN_PIPE, FAILED = 130, 141, 2


class _Failure(Exception):
    """A mistake in the command line, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Failure(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 with one line on stderr, 130 after an interrupt."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without × and ─ is no reason to fail
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
        return 0
    except SystemExit as done:  # --help, --version
        return int(done.code or 0)
    except KeyboardInterrupt:
        print("evenbits: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone; keep the interpreter from flushing to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (_Failure, ValueError, TypeError, ModuleNotFoundError) as error:
        message = str(error)
    except MemoryError:
        message = "out of memory"
    except OSError as error:
        reason = f"{error.strerror[:1].lower()}{error.strerror[1:]}" if error.strerror else str(error)
        message = f"{error.filename}: {reason}" if error.filename else reason
    print(f"evenbits: error: {' '.join(message.split())}", file=sys.stderr)
    return FAILED


def _parser() -> argparse.ArgumentParser:
    from evenbits import __version__

    parser = _Parser("evenbits", description="Few-bit quantization of model files, with the same bytes everywhere.")
    parser.add_argument("--version", action="version", version=f"evenbits {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, run: Any, help: str, description: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=description)
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
        return sub

    quantize = command(
        "quantize", _quantize, "quantize a model file, or the bundled model",
        "Quantize the matrices of MODEL (safetensors, npz, or a PyTorch checkpoint) into one safetensors file. Without "
        "MODEL: show the accuracy of the bundled digits classifier against the bits, for each method.",
    )  # fmt: skip
    quantize.add_argument("model", nargs="?", metavar="MODEL")
    rate = quantize.add_mutually_exclusive_group()
    rate.add_argument("-b", "--bits", type=_rate, help="width of a code, any number above 0 (default: 4)")
    rate.add_argument("--budget", help="hard ceiling: bits a value with all side information, or a file size as 12MB")
    quantize.add_argument("-m", "--method", help="quantization method (default: near_democratic)")
    quantize.add_argument("-o", "--output", metavar="OUT", help="default: MODEL with the suffix .evenbits.safetensors")
    quantize.add_argument("--seed", type=int, default=0, help="of signs and rounding (default: 0)")
    quantize.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="also quantize tensors of such a name"
    )
    quantize.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="keep tensors of such a name"
    )
    quantize.add_argument(
        "--option", action="append", default=[], type=_option, metavar="KEY=VALUE", help="an option of the method"
    )
    quantize.add_argument("--certificate", action="store_true", help="also keep a bound on the error of every row of values")
    quantize.add_argument("--plot", metavar="FILE", help="save the bundled model's accuracy as a picture")
    _add_common(quantize)

    decode = command(
        "decode", _decode, "turn a file of codes back into floats",
        "Decode FILE to an ordinary safetensors file with the dtypes and shapes of the original.",
    )  # fmt: skip
    decode.add_argument("file", metavar="FILE")
    decode.add_argument("-o", "--output", metavar="OUT", required=True)
    decode.add_argument("-b", "--bits", type=_rate, help="of methods pruning and residual, the first so many bits a value alone")
    _add_common(decode)

    inspect = command("inspect", _inspect, "list the tensors of a file", "List the tensors of a model or of codes.")
    inspect.add_argument("file", metavar="FILE")
    verify = command("verify", _verify, "compare a file to its checksums", "Compare all data of FILE to its checksums.")
    verify.add_argument("file", metavar="FILE")
    command("methods", _methods, "list the methods", "List the quantization methods.")
    _add_export(commands)
    return parser


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="write a file of codes in another format", description="Other formats.")
    formats = export.add_subparsers(dest="format", metavar="FORMAT", required=True)
    c = formats.add_parser(
        "c", help="C code for microcontrollers",
        description="Write the network of MODEL, a file of codes, as C99 that needs no library, with its decoder.",
    )  # fmt: skip
    c.set_defaults(run=_export_c)
    c.add_argument("model", metavar="MODEL")
    c.add_argument("-o", "--output", metavar="DIR", required=True)
    c.add_argument("--activations", default="int8", help="int8 (default: integers alone, needs --samples) or float32")
    c.add_argument("--samples", metavar="FILE[:TENSOR]", help="inputs, one a row: a file, or a tensor of MODEL")
    c.add_argument("--labels", metavar="FILE[:TENSOR]", help="their classes, for the accuracy in the report")
    c.add_argument("--input-scale", metavar="S", help="what 1 is worth in 8-bit inputs, as 1/16")
    c.add_argument("--layers", help="what happens, in order: conv:stride=2:pad=1,relu,dense,softmax (default: ReLU between)")
    c.add_argument("--input", type=_shape, metavar="CxHxW", help="shape of the input of a convolution")
    c.add_argument("--name", default="model", help="of files and functions (default: model)")
    c.add_argument("--json", action="store_true", help="print JSON instead of a table")
    c.add_argument("-f", "--force", action="store_true", help="replace files in DIR")


def _shape(text: str) -> tuple[int, ...]:
    if not all(part.isdigit() for part in text.split("x")):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 3x32x32")
    return tuple(map(int, text.split("x")))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=-1, help="threads (default: -1, all that the process may use)")
    parser.add_argument("-f", "--force", action="store_true", help="replace OUT if it exists")


def _rate(text: str) -> int | Fraction:
    from evenbits.models.plan import number_of

    try:
        value = number_of(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bits") from None
    return int(value) if value.denominator == 1 else value


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, {"True": True, "False": False, "None": None}.get(value, value)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _quantize(arguments: argparse.Namespace) -> None:
    from evenbits.models import quantize_model
    from evenbits.models.progress import ProgressBar

    if arguments.model is None:
        _quantize_digits(arguments)
        return
    if arguments.plot:
        raise _Failure("--plot shows the bundled model; leave MODEL out")
    with ProgressBar(sys.stderr) as progress:
        report = quantize_model(
            arguments.model,
            arguments.output,
            bits=arguments.bits,
            budget=arguments.budget,
            method=arguments.method or "near_democratic",
            seed=arguments.seed,
            workers=arguments.workers,
            include=arguments.include,
            exclude=arguments.exclude,
            certificate=arguments.certificate,
            overwrite=arguments.force,
            progress=progress,
            **dict(arguments.option),
        )
    if arguments.json:
        _print_json(report.as_json())
    else:
        print(report.text())


def _quantize_digits(arguments: argparse.Namespace) -> None:
    from evenbits.models.digits import RATES, load_digits, trials
    from evenbits.models.plot import picture_format, save_plot
    from evenbits.models.progress import ProgressBar
    from evenbits.models.report import table
    from evenbits.quantizers import method_named, methods

    for name in ("output", "budget", "include", "exclude", "option", "certificate"):
        if getattr(arguments, name):
            raise _Failure(f"--{name} needs a MODEL")
    if arguments.plot:
        picture_format(arguments.plot)
        if os.path.exists(arguments.plot) and not arguments.force:
            raise _Failure(f"{arguments.plot} exists already; allow to replace it (--force)")
    names = [method_named(arguments.method).method] if arguments.method else list(methods())
    rates = RATES if arguments.bits is None else (arguments.bits,)
    digits = load_digits()
    full = digits.accuracy()
    with ProgressBar(sys.stderr) as progress:
        seeds = range(arguments.seed, arguments.seed + 5)
        results = list(trials(digits, names, rates, seeds=seeds, progress=progress))
    if not results:
        methods()[names[0]](rates[0])  # raises: there is no such rate
    if arguments.plot:
        save_plot(arguments.plot, results, full)
    if arguments.json:
        rows = [{**vars(trial), "bits": float(trial.bits)} for trial in results]
        _print_json({"version": 1, "model": "digits", "float32_accuracy": full, "trials": rows})
        return
    cells = {(trial.method, trial.bits): _accuracy(trial.accuracy, trial.bits_per_value) for trial in results}
    lines = [[name, *(cells.get((name, bits), "–") for bits in rates)] for name in names]
    last = ["float32", _accuracy(full, 32), *[""] * (len(rates) - 1)]
    values = sum(weight.size for weight in digits.weights)
    print(f"Digits classifier, {values} weights, {len(digits.labels)} test images, mean of {len(seeds)} seeds.")
    print("Accuracy in %, and in brackets the bits a value with all side information.\n")
    print(table(["bits", *(f"{float(bits):g}" for bits in rates)], lines, "l" + "r" * len(rates), last))
    if arguments.plot:
        print(f"wrote {arguments.plot}")


def _accuracy(accuracy: float, bits_per_value: float) -> str:
    return f"{100 * accuracy:.1f}{f'({bits_per_value:.2f})':>8}"


def _export_c(arguments: argparse.Namespace) -> None:
    from evenbits.export import export_c
    from evenbits.export.c import report_text

    report = export_c(
        arguments.model,
        arguments.output,
        activations=arguments.activations,
        samples=arguments.samples,
        labels=arguments.labels,
        input_scale=arguments.input_scale,
        layers=arguments.layers,
        input_shape=arguments.input,
        name=arguments.name,
        overwrite=arguments.force,
    )
    if arguments.json:
        _print_json(report)
    else:
        print(report_text(report))


def _decode(arguments: argparse.Namespace) -> None:
    from evenbits.models import decode_model
    from evenbits.models.report import size_text

    bits = None if arguments.bits is None else float(arguments.bits)
    rows = decode_model(arguments.file, arguments.output, bits=bits, workers=arguments.workers, overwrite=arguments.force)
    if arguments.json:
        tensors = [{"name": row.name, "shape": list(row.shape), "dtype": row.dtype, "bytes": row.after} for row in rows]
        _print_json({"version": 1, "file": arguments.file, "output": arguments.output, "tensors": tensors})
    else:
        print(f"wrote {arguments.output}: {len(rows)} tensors, {size_text(sum(row.after for row in rows))}")


def _inspect(arguments: argparse.Namespace) -> None:
    from evenbits.models import inspect_model
    from evenbits.models.report import ceiling_text, shape_text, size_text, table

    rows = inspect_model(arguments.file)
    if arguments.json:
        tensors = [
            {"name": row.name, "shape": list(row.shape), "dtype": row.dtype, "method": row.method}
            | {"bits_per_value": row.bits_per_value, "bytes": row.after}
            | ({} if row.certified is None else {"certified_error": row.certified})
            for row in rows
        ]
        _print_json({"version": 1, "file": arguments.file, "tensors": tensors})
        return
    lines = [
        [r.name, shape_text(r.shape), r.dtype, r.method or "", f"{r.bits_per_value:.3f}", size_text(r.after)]
        for r in rows
    ]
    values, size = sum(row.size for row in rows), sum(row.after for row in rows)
    total = [f"{len(rows)} tensors", f"{values}", "", "", f"{8 * size / max(values, 1):.3f}", size_text(size)]
    head, align = ["tensor", "shape", "dtype", "method", "bits a value", "size"], "llllrr"
    if any(row.certified is not None for row in rows):
        head, align, total = [*head, "|error| at most"], align + "r", [*total, ""]
        for line, row in zip(lines, rows, strict=True):
            line.append("" if row.certified is None else ceiling_text(row.certified))
    print(table(head, lines, align, total))


def _verify(arguments: argparse.Namespace) -> None:
    from evenbits.container import verify
    from evenbits.models.report import size_text

    found = verify(arguments.file)
    if arguments.json:
        _print_json({"version": 1, "ok": found.ok, **vars(found), "damaged": list(found.damaged)})
    elif found.ok:
        certified = f", {found.certified} with certificates of their errors" if found.certified else ""
        print(f"{found.path}: {found.tensors} tensors{certified}, {size_text(found.nbytes)}, every checksum is right")
    if not found.ok:
        raise _Failure(f"{found.path} is damaged: wrong checksum of {', '.join(found.damaged)}")


def _methods(arguments: argparse.Namespace) -> None:
    from evenbits.quantizers import methods

    described = {name: (method.__doc__ or "").strip().split("\n")[0] for name, method in methods().items()}
    if arguments.json:
        _print_json(described)
        return
    width = max(map(len, described))
    print("\n".join(f"{name:{width}}  {text}".rstrip() for name, text in described.items()))
