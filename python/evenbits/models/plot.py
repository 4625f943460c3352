"""The accuracy of the bundled model against the bits a value, as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

from evenbits._tensorfile import Path, atomic
from evenbits.models.digits import Trial

_COLOURS = ("#7f7f7f", "#d98c21", "#2a7fb8", "#2e8b57", "#a03c78", "#5b4fa2")
_MARKS = "osD^vP"
_LINES = ("-", "--", ":")
_UNDATED: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def picture_format(path: Path) -> str:
    """The format that the suffix of a path names. Raises ValueError if it names none."""
    suffix = os.path.splitext(os.fspath(path))[1][1:].lower()
    if suffix not in _UNDATED:
        raise ValueError(f"{os.fspath(path)} names no picture format; end it in .{', .'.join(_UNDATED)}")
    return suffix


def save_plot(path: Path, trials: Sequence[Trial], full_accuracy: float) -> None:
    """Save accuracy against bits a value, one line a method; the suffix (png, svg, pdf) says how."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
    except ModuleNotFoundError:
        raise ModuleNotFoundError('--plot needs matplotlib: pip install "evenbits[plot]"') from None
    with rc_context({"svg.hashsalt": "evenbits", "font.size": 10, "axes.titlesize": 12}):
        figure = Figure(figsize=(7.2, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.axhline(100 * full_accuracy, color="0.25", linestyle=(0, (5, 3)), linewidth=1)
        axes.annotate(
            f"float32: {100 * full_accuracy:.1f} %", (0, 100 * full_accuracy), xycoords=("axes fraction", "data"),
            xytext=(6, 4), textcoords="offset points", color="0.25",
        )  # fmt: skip
        for i, method in enumerate(dict.fromkeys(trial.method for trial in trials)):
            line = [trial for trial in trials if trial.method == method]
            axes.plot(
                [trial.bits_per_value for trial in line], [100 * trial.accuracy for trial in line],
                color=_COLOURS[i % len(_COLOURS)], marker=_MARKS[i % len(_MARKS)], markersize=5, linewidth=1.6,
                linestyle=_LINES[i // len(_COLOURS) % len(_LINES)], label=method,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 12, 16]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(top=104)
        axes.set_xlabel("bits a value, all side information counted")
        axes.set_ylabel("accuracy in %")
        axes.set_title("Digits classifier with quantized weights", loc="left")
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right", fontsize=8, ncols=2, handlelength=3)
        picture = io.BytesIO()
        form = picture_format(path)
        figure.savefig(picture, format=form, dpi=160, metadata=_UNDATED[form])
    with atomic(path) as file:
        file.write(picture.getvalue())
