import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evenbits.cli import main
from evenbits.container import load
from evenbits.encoded import Encoded
from evenbits.models import digits, progress, quantize
from evenbits.quantizers import methods


@pytest.fixture
def model(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {
        "fc.weight": rng.standard_normal((40, 64), dtype=np.float32),
        "fc.bias": np.ones(40, np.float32),
        "embed": rng.standard_normal((30, 64), dtype=np.float32),
    }
    save_file(arrays, "model.safetensors", metadata={"format": "pt"})
    return "model.safetensors"


@pytest.fixture
def coded(model, capsys):
    assert main(["quantize", model]) == 0
    capsys.readouterr()
    return "model.evenbits.safetensors"


def run(*arguments, **options):
    command = [sys.executable, "-m", "evenbits", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


def fails(capsys, *arguments):
    """The one line on stderr of a command that must end with code 2 and leave no new file."""
    before = set(os.listdir())
    assert main(list(arguments)) == 2
    output, errors = capsys.readouterr()
    assert output == "" and set(os.listdir()) == before
    assert errors.startswith("evenbits: error: ") and errors.count("\n") == 1 and errors.endswith("\n")
    return errors.removeprefix("evenbits: error: ").rstrip()


def test_quantize_prints_a_table_and_writes_beside_the_model(model, capsys):
    assert main(["quantize", model]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    lines = output.splitlines()
    assert lines[0].split() == ["tensor", "shape", "method", "bits", "a", "value", "error", "before", "after"]
    assert "fc.weight  40 × 64  near_democratic" in output and "kept: 1-D" in output and "kept: an embedding" in output
    size = os.path.getsize("model.evenbits.safetensors")
    assert lines[-1].startswith(f"wrote model.evenbits.safetensors: {size} bytes, ")


def test_options_reach_the_quantizer(model, capsys):
    arguments = "--bits 2.5 -m uniform -o out --seed 7 --include em* --exclude fc.* --option rounding=stochastic"
    assert main(["quantize", model, *arguments.split(), "--option", "per=16", "--workers", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = load("out")
    assert [name for name, value in found.items() if isinstance(value, Encoded)] == ["embed"]
    assert found["embed"].spec["scales"]["per"] == 16 and found["embed"].spec["bits"] == "5/2"
    assert report["options"] == {"rounding": "stochastic", "per": 16} and report["seed"] == 7


def test_json_of_quantize(model, capsys):
    assert main(["quantize", model, "--budget", "12kB", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {
        "version", "model", "output", "method", "bits", "budget", "seed", "options", "tensors", "total"
    }  # fmt: skip
    assert (report["version"], report["model"], report["budget"]) == (1, model, "12000 bytes")
    for tensor in report["tensors"]:
        assert tensor.keys() == {
            "name", "shape", "dtype", "method", "bits", "bits_per_value", "error", "kept", "bytes_before", "bytes_after"
        }  # fmt: skip
        assert (tensor["method"] is None) == (tensor["kept"] is not None) == (tensor["error"] is None)
    assert report["total"]["bytes_after"] == os.path.getsize(report["output"]) <= 12_000


def test_decode_gives_floats_back(coded, model, capsys):
    assert main(["decode", coded, "-o", "back.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("wrote back.safetensors: 3 tensors")
    back, original = load_file("back.safetensors"), load_file(model)
    assert back.keys() == original.keys()
    np.testing.assert_array_equal(back["embed"], original["embed"])
    assert np.linalg.norm(back["fc.weight"] - original["fc.weight"]) < 0.12 * np.linalg.norm(original["fc.weight"])
    assert main(["decode", coded, "-o", "back.safetensors", "--force", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {tensor["name"]: tensor["dtype"] for tensor in listed["tensors"]} == dict.fromkeys(original, "float32")


@pytest.mark.parametrize("method", ["pruning", "residual"])
def test_decode_takes_the_first_bits_of_codes_that_have_an_order(method, model, capsys):
    assert main(["quantize", model, "-b", "16", "-m", method, "-o", "codes.safetensors"]) == 0
    original, errors = load_file(model), []
    for bits in ("7", "20", "100"):
        assert main(["decode", "codes.safetensors", "-o", f"{bits}.safetensors", "--bits", bits]) == 0
        back = load_file(f"{bits}.safetensors")
        np.testing.assert_array_equal(back["fc.bias"], original["fc.bias"])
        errors.append(np.linalg.norm(back["fc.weight"] - original["fc.weight"]))
    whole = load("codes.safetensors")["fc.weight"]
    np.testing.assert_array_equal(back["fc.weight"], whole.decode())
    assert errors[0] > 1.5 * errors[1] >= errors[2]
    assert whole.cut(7).bits_per_value <= 7
    capsys.readouterr()
    assert "fc.weight: bits leaves" in fails(capsys, "decode", "codes.safetensors", "-o", "x", "--bits", ".01")
    assert not Path("x").exists()


def test_decode_says_which_codes_have_no_order(coded, capsys):
    assert "fc.weight: bits is 2.0; method 'near_democratic' has no stream" in fails(
        capsys, "decode", coded, "-o", "x", "--bits", "2"
    )


def test_inspect_lists_any_model_file(coded, model, capsys):
    for path, method in ((model, ""), (coded, "near_democratic")):
        assert main(["inspect", path]) == 0
        text = capsys.readouterr().out
        assert "40 × 64" in text and "3 tensors" in text and method in text
        assert main(["inspect", path, "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)
        found = {tensor["name"]: tensor["method"] for tensor in listed["tensors"]}
        assert found == {"fc.weight": method or None, "fc.bias": None, "embed": None}


def test_verify_says_whether_a_file_is_whole(coded, capsys):
    assert main(["verify", coded]) == 0
    assert "every checksum is right" in capsys.readouterr().out
    data = bytearray(Path(coded).read_bytes())
    data[-1] ^= 1
    Path(coded).write_bytes(data)
    assert "is damaged: wrong checksum of fc.weight.codes" in fails(capsys, "verify", coded)
    assert main(["verify", coded, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False and found["damaged"] == ["fc.weight.codes"]


def test_methods_are_listed(capsys):
    assert main(["methods"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(methods())
    assert main(["methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == methods().keys()


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split()[0] == "evenbits"
    assert main(["quantize", "--help"]) == 0
    assert "--budget" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("quantize nothing.safetensors", "nothing.safetensors: no such file or directory"),
        ("quantize .", ".: is a directory"),
        ("quantize {model} --method magic", "method is 'magic'; known are uniform"),
        ("quantize {model} --bits 17", "bits is 17; it must be above 0 and at most 16"),
        ("quantize {model} --bits many", "argument -b/--bits: 'many' is no number of bits (see evenbits quantize --help)"),
        ("quantize {model} --bits 1/0", "'1/0' is no number of bits"),
        ("quantize {model} --bits 2 --budget 3", "argument --budget: not allowed with argument -b/--bits"),
        ("quantize {model} --budget 12M", "budget is '12M'; give bits a value, as 2.5, or a file size, as 12MB or 12MiB"),
        ("quantize {model} --budget 900B", "budget is 900 bytes, which is impossible; the least for this model is "),
        ("quantize {model} --budget 0.001", "budget is 0.001 bits a value, which is impossible; the least "),
        ("quantize {model} --include no*", "include pattern 'no*' matches no tensor"),
        ("quantize {model} --option shine", "argument --option: 'shine' is not KEY=VALUE"),
        ("quantize {model} --option shine=1", "near_democratic has no option 'shine'; it has "),
        ("quantize {model} --option rounding=up", "rounding is 'up'"),
        ("quantize {model} --option rounds=[1]", "rounds is [1]; it must be an integer"),
        ("quantize {model} --workers 0", "workers is 0; it must be from 1"),
        ("quantize {model} --seed -1", "seed is -1; it must be from 0"),
        ("quantize {model} -o {model} -f", "model.safetensors is the input; name another output"),
        ("quantize {model} -o no/out", "no/out would lie in a directory that does not exist"),
        ("quantize {model} -o . -f", ". is a directory; name a file in it"),
        ("quantize {model} --plot p.png", "--plot shows the bundled model; leave MODEL out"),
        ("quantize --output out", "--output needs a MODEL"),
        ("quantize --budget 3", "--budget needs a MODEL"),
        ("quantize --method magic", "method is 'magic'"),
        ("quantize --method trellis --bits 8", "bits is 8; a trellis takes 1 to 4 bits a value"),
        ("quantize {model} --method trellis --bits 8", "bits is 8; a trellis takes 1 to 4 bits a value"),
        ("quantize --plot picture.doc", "picture.doc names no picture format; end it in .png, .svg, .pdf"),
        ("verify {model}", "model.safetensors was not written by evenbits"),
        ("decode {model} -o out", "model.safetensors was not written by evenbits"),
        ("decode {model}", "the following arguments are required: -o/--output"),
        ("inspect nothing", "nothing: no such file or directory"),
        ("paint", "argument COMMAND: invalid choice: 'paint'"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_are_one_line_and_code_2(arguments, message, model, capsys):
    assert message in fails(capsys, *arguments.format(model=model).split())


def test_an_existing_output_takes_force(coded, model, capsys):
    assert "exists already; allow to replace it (--force" in fails(capsys, "quantize", model)
    assert "exists already" in fails(capsys, "decode", coded, "-o", model)
    assert main(["quantize", model, "--force"]) == 0


def test_files_that_are_no_models_are_one_line(model, capsys):
    good = Path(model).read_bytes()
    for bad in (b"", b"no model at all, but text", good[:-1], good[:100], good.replace(b'"F32"', b'"F37"')):
        Path(model).write_bytes(bad)
        for command in ("quantize", "inspect", "verify"):
            assert "model.safetensors is truncated, damaged or no safetensors file" in fails(capsys, command, model)


def test_nan_is_named_with_its_tensor(model, capsys):
    arrays = load_file(model)
    arrays["fc.weight"][3, 5] = np.nan
    save_file(arrays, model)
    assert "fc.weight[3, 5] is nan" in fails(capsys, "quantize", model)


def test_a_missing_package_is_one_line(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert 'pip install "evenbits[models]"' in fails(capsys, "quantize", model)


def test_a_full_disk_is_one_line(model, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(quantize.container, "write", fail)
    assert fails(capsys, "quantize", model) == "out: no space left on device"


def test_an_interrupt_leaves_nothing(model, capsys, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("evenbits._tensorfile.os.fsync", interrupt)
    assert main(["quantize", model]) == 130
    assert capsys.readouterr().err == "evenbits: interrupted\n"
    assert os.listdir() == [model]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_the_process_with_130(model):
    program = """
import os, signal, sys
from evenbits import _tensorfile
from evenbits.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests may have it ignored
_tensorfile.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGINT)
sys.exit(main(sys.argv[1:]))
"""
    before = signal.getsignal(signal.SIGINT)
    done = subprocess.run([sys.executable, "-c", program, "quantize", model], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "evenbits: interrupted\n")
    assert os.listdir() == [model] and signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_broken_pipe_is_quiet(model):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "evenbits", "inspect", model]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_without_our_characters_is_no_failure(model):
    done = run("inspect", model, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "40 ? 64" in done.stdout


def test_without_a_terminal_there_is_no_progress(model):
    done = run("quantize", model)
    assert done.returncode == 0 and done.stderr == "" and "fc.weight" in done.stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_bar_with_the_time_left(monkeypatch):
    clock = iter([100.0, 100.0, 110.0, 110.05, 3710.0, 3720.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    with progress.ProgressBar(terminal) as bar:
        bar(0, 100, "first")
        bar(25, 100, "second")
        bar(26, 100, "too soon to draw")
        bar(50, 100, "third, with a name that is much too long for this narrow terminal")
        bar(100, 100, "out")
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn[0] == "" and drawn[-1] == "" and len(drawn) == 6
    assert drawn[1] == "░" * 24 + "   0 %  ...  first"
    assert drawn[2] == "█" * 6 + "░" * 18 + "  25 %  0:30 left  second"
    assert drawn[3].startswith("█" * 12 + "░" * 12 + "  50 %  1:00:10 left  third") and len(drawn[3]) == 59
    assert drawn[4] == "█" * 24 + " 100 %  0:00 left  out"


def test_the_command_draws_on_a_terminal(model, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["quantize", model]) == 0
    assert "fc.weight" in terminal.getvalue() and terminal.getvalue().endswith("\r\x1b[K")
    assert "\x1b" not in capsys.readouterr().out


@pytest.fixture
def few_rates(monkeypatch):
    monkeypatch.setattr(digits, "RATES", (0.5, 4))


def test_without_a_model_the_bundled_one_is_shown(few_rates, capsys):
    assert main(["quantize"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    lines = output.splitlines()
    head = next(line for line in lines if line.lstrip().startswith("bits "))
    assert head.split() == ["bits", "0.5", "4"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[-len(methods()) - 2 :]}
    assert rows.keys() == {*methods(), lines[-2], "float32"}
    assert all(float(rows[name][2]) > 90 for name, kind in methods().items() if kind.fixed)
    assert max(len(line) for line in lines) <= 120
    assert rows["trellis"][0] == "–" and float(rows["trellis"][1]) > 90


def test_json_of_the_bundled_model(few_rates, capsys):
    assert main(["quantize", "--json", "--method", "uniform"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == {"version", "model", "float32_accuracy", "trials"} and shown["float32_accuracy"] > 0.95
    assert [trial["bits"] for trial in shown["trials"]] == [0.5, 4]
    for trial in shown["trials"]:
        assert trial.keys() == {"method", "bits", "bits_per_value", "error", "accuracy"}


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plots_are_saved_and_the_same_every_time(suffix, magic, few_rates, capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        assert main(["quantize", "--method", "uniform", "--plot", f"{name}.{suffix}"]) == 0
        assert f"wrote {name}.{suffix}" in capsys.readouterr().out
    one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert one.startswith(magic) and one == two
    assert "exists already" in fails(capsys, "quantize", "--plot", f"one.{suffix}")
    assert main(["quantize", "--method", "uniform", "--plot", f"one.{suffix}", "--force"]) == 0


def test_a_plot_without_matplotlib_names_the_remedy(few_rates, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "evenbits[plot]"' in fails(capsys, "quantize", "--plot", "p.png")


def test_importing_evenbits_imports_no_extra():
    program = "import sys, evenbits; print([m for m in sys.argv[1:] if m in sys.modules])"
    extras = ["safetensors", "argparse", "matplotlib", "torch", "ml_dtypes", "evenbits.models", "evenbits.cli"]
    done = subprocess.run([sys.executable, "-c", program, *extras], capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("flag", ["--bits", "--budget"])
@pytest.mark.parametrize("text", ["1e400", "1e9999999", "nan", "inf", "4/0", "0x4", "9" * 400])
def test_numbers_out_of_all_proportion_are_refused_at_once(flag, text, model, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert main(["quantize", str(model), flag, text, "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text[:20] in error
    assert not out.exists()
