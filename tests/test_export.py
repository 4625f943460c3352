import dataclasses
import json
import os
import shutil
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evenbits
from evenbits import cli, container
from evenbits.export import export_c
from evenbits.export.c import prepare, report_text
from evenbits.export.integer import Rounding, embedded, refusal, rounded
from evenbits.export.network import read_network, softmax
from evenbits.models import quantize_model
from evenbits.models.digits import load_digits

pytest.importorskip("safetensors")
DIGITS = Path(evenbits.__file__).parent / "data" / "digits.safetensors"


def save(path, shapes=((6, 8), (3, 6)), bits=4, method="near_democratic", bias=True, **options):
    rng = np.random.default_rng(1)
    entries = []
    for i, shape in enumerate(shapes):
        w = rng.standard_normal(shape).astype(np.float32)
        encoded = evenbits.quantize(w.reshape(shape[0], -1), bits, method, **options)
        entries.append(container.entry_of(f"{i}.weight", encoded, shape if len(shape) > 2 else None))
        if bias:
            entries.append(container.entry_of(f"{i}.bias", rng.standard_normal(shape[0]).astype(np.float32)))
    container.write(path, entries)
    return path


@pytest.fixture
def model(tmp_path):
    return save(tmp_path / "model.safetensors")


def samples(n=8, count=20):
    return np.random.default_rng(2).standard_normal((count, n)).astype(np.float32)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "small.safetensors"
    quantize_model(DIGITS, path, bits=3, seed=3)  # of ten seeds the one of least error on the training images
    return path


def test_digits_at_3_bits_lose_less_than_a_point_in_under_4_kb(digits, tmp_path):
    report = export_c(digits, tmp_path, samples="images", labels="labels", input_scale="1/16")
    assert report["accuracy"] >= load_digits().accuracy() - 0.01
    assert report["flash_bytes"] <= 4096
    assert report["multiplications"] == 64 * 64 + 32 * 64 + 10 * 32
    assert report["ram_bytes"] == 4 * 64 + 64 + 32


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("activations", ["int8", "float32"])
def test_generated_code_passes_its_self_test(digits, tmp_path, activations):
    export_c(digits, tmp_path, activations=activations, samples="images", input_scale="1/16")
    program = tmp_path / "program"
    main = Path(evenbits.get_embedded_include()) / "emulator" / "main.c"
    sources = [tmp_path / "model.c", tmp_path / "evenbits_decode.c", main]
    subprocess.run(["cc", "-std=c99", "-ffp-contract=off", f"-I{tmp_path}", *sources, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "passed")


def test_floats_give_what_linear_gives(model):
    ready, x = prepare(model, activations="float32", samples=samples()), samples()
    tensors = evenbits.load(model)
    y = np.maximum(evenbits.linear(x, tensors["0.weight"]) + tensors["0.bias"], 0)
    y = evenbits.linear(y, tensors["1.weight"]) + tensors["1.bias"]
    np.testing.assert_array_equal(ready.run(x), y)


@pytest.mark.parametrize(
    "method, bits, options",
    [
        ("near_democratic", 4, {}), ("near_democratic", Fraction(5, 2), {}), ("uniform", 4, {"range": "min_max", "per": 3}),
        ("uniform", Fraction(9, 4), {"range": "min_max"}), ("democratic", 4, {"redundancy": 1.5}), ("lloyd_max", 3, {}),
        ("near_democratic", 3, {"rounds": 2}), ("uniform", 8, {"per": "tensor", "grid": "end_point"}), ("trellis", 2, {}),
        ("trellis", 2.5, {"memory": 16, "rotate": False, "scale_dtype": "float16"}),
    ],
)  # fmt: skip
def test_integers_are_near_the_floats(tmp_path, method, bits, options):
    path = save(tmp_path / "m.safetensors", ((24, 40), (10, 24)), bits, method, **options)
    x = samples(40, 200)
    whole, floats = prepare(path, samples=x), prepare(path, activations="float32", samples=x)
    y, z = whole.run(whole.inputs) * whole.planned.layers[-1].output_scale, floats.run(x)
    assert np.sqrt(np.mean((y - z) ** 2) / np.mean(z**2)) < 0.03


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("activations", ["int8", "float32"])
@pytest.mark.parametrize(
    "shapes, bits, options", [(((1, 33000),), 1, {"rotate": False}), (((9, 70), (3, 9)), Fraction(7, 2), {"memory": 9})]
)
def test_trellises_of_any_length_pass_their_self_test(tmp_path, activations, shapes, bits, options):
    path = save(tmp_path / "m.safetensors", shapes, bits, "trellis", **({"memory": 8} | options))
    x = 127 * np.sign(evenbits.load(path)["0.weight"].decode()[:1])  # sums go as far as they can
    report = export_c(path, tmp_path, activations=activations, samples=x.astype(np.int8))
    assert all(layer.get("worst_sum", 0) < 2**31 and layer.get("worst_total", 0) < 2**62 for layer in report["layers"])
    main = Path(evenbits.get_embedded_include()) / "emulator" / "main.c"
    sources = [tmp_path / "model.c", tmp_path / "evenbits_decode.c", main]
    program = tmp_path / "program"
    subprocess.run(["cc", "-std=c99", "-ffp-contract=off", f"-I{tmp_path}", *sources, "-o", program], check=True)
    assert subprocess.run([program], capture_output=True, text=True).stdout.split()[-1] == "passed"


def test_no_sum_passes_its_bound(tmp_path):
    path = save(tmp_path / "m.safetensors", ((5, 40),), 4, "uniform", range="min_max", per=8)
    layer = prepare(path, samples=samples(40)).planned.layers[0]
    codes = layer.meaning.unpack(layer.layer.weights.planes["codes"]).astype(np.int64)
    worst = np.abs(layer.units.units[codes] - np.repeat(layer.zeros, 8, axis=1)).reshape(5, 5, 8).sum(axis=2) * 128
    assert worst.max() <= layer.worst_sum < 2**31
    assert (worst * np.abs(layer.multipliers)).sum(axis=1).max() < layer.worst_total < 2**62


def test_rows_too_long_for_32_bits_are_refused(tmp_path):
    path = save(tmp_path / "m.safetensors", ((1, 70000),), 8, "uniform", bias=False)
    with pytest.raises(ValueError, match="beyond 32 bits; take shorter groups"):
        prepare(path, samples=np.ones((1, 70000), np.float32))


@pytest.mark.parametrize("grid, even", [("mid_rise", 2), ("mid_tread", 1), ("end_point", 2)])
def test_even_grids_are_whole_units(grid, even, tmp_path):
    layer = prepare(save(tmp_path / "m", ((4, 8),), 4, "uniform", grid=grid), samples=samples()).planned.layers[0]
    u, codes = layer.units, np.arange(16)
    assert u.even == even
    np.testing.assert_array_equal(u.units, even * codes - u.center)
    np.testing.assert_allclose(u.units * u.step, layer.meaning.lower, rtol=1e-6)


def test_rounding_is_to_the_nearest_halves_up():
    v = np.array([-3, -2, -1, 0, 1, 2, 3, 1000, -1000])
    np.testing.assert_array_equal(rounded(v, Rounding(1, 1), -127, 127), [-1, -1, 0, 0, 1, 1, 2, 127, -127])


def test_integer_coordinates_are_those_of_the_rotation(tmp_path):
    layer = prepare(save(tmp_path / "m", ((4, 20),)), samples=samples(20)).planned.layers[0]
    x = np.arange(-10, 10)[None]
    y = evenbits.randomized_hadamard(x.astype(np.float64), seed=layer.spec.seed, stream=layer.spec.stream)
    np.testing.assert_allclose(embedded(layer.meaning, x), y * np.sqrt(y.shape[-1]), atol=1e-9)


def test_softmax_is_close_to_the_real_one():
    x = np.random.default_rng(0).normal(0, 20, (50, 9)).astype(np.float32)
    e = np.exp((x - x.max(axis=1, keepdims=True)).astype(np.float64))
    np.testing.assert_allclose(softmax(x), e / e.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-30)


def test_convolutions_are_those_of_windows(tmp_path):
    path = save(tmp_path / "m.safetensors", ((4, 2, 3, 3), (3, 16)), 8, "uniform")
    network, _ = read_network(path, "conv:stride=2:pad=1,relu,dense", (2, 4, 4))
    x = samples(32, 3)
    w, bias = evenbits.decode(evenbits.load(path)["0.weight"]).reshape(4, 2, 3, 3), evenbits.load(path)["0.bias"]
    padded = np.pad(x.reshape(3, 2, 4, 4), ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.empty((3, 4, 2, 2))
    for i in range(2):
        for j in range(2):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[:, :, i, j] = np.einsum("nchw,fchw->nf", window, w) + bias
    np.testing.assert_allclose(network.layers[0].run(x), np.maximum(expected, 0).reshape(3, 16), rtol=1e-4, atol=1e-5)


def test_the_same_file_gives_the_same_c_code(model, tmp_path):
    for name in ("a", "b"):
        export_c(model, tmp_path / name, samples=samples())
    for file in ("model.c", "model.h"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_report_counts_the_arrays_of_the_code(model, tmp_path):
    report = export_c(model, tmp_path, samples=samples(), labels=np.zeros(20))
    assert json.loads((tmp_path / "model.json").read_text()) == report
    assert report["flash"]["0.weight codes"] == evenbits.load(model)["0.weight"].planes["codes"].nbytes
    assert report["flash_bytes"] == sum(report["flash"].values())
    assert f"{report['flash_bytes']}" in report_text(report) and "accuracy" in report_text(report)
    ready = prepare(model, samples=samples())
    crc = zlib.crc32(ready.run(ready.inputs[:1]).astype("<i4").tobytes())
    assert report["selftest_crc32"] == f"{crc:08x}"
    assert f"0x{crc:08X}u" in (tmp_path / "model.c").read_text()


@pytest.mark.parametrize(
    "method, options, bits, reason",
    [
        ("kashin", {}, 3, "two bases"),
        ("uniform", {}, 10, "1024 levels; the decoder has 8 bits a code"),
        ("dead_zone", {}, 3, "no code of fixed width"),
        ("pruning", {}, 3, "no code of fixed width"),
        ("magnitude", {}, 3, "no code of fixed width"),
        ("residual", {}, 2, "no code of fixed width"),
    ],
)
def test_codes_that_c_cannot_decode_are_refused_with_the_reason(tmp_path, method, options, bits, reason):
    path = save(tmp_path / "m.safetensors", ((8, 64),), bits, method, **options)
    with pytest.raises(ValueError, match=f"0.weight cannot be decoded in C: .*{reason}"):
        export_c(path, tmp_path / "out", samples=samples(64))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"activations": "int4"}, "activations is 'int4'; known are 'int8', 'float32'"),
        ({"samples": None}, "samples is missing"),
        ({"samples": np.ones((2, 7))}, r"samples is float64\(2, 7\); it must be rows of 8 numbers"),
        ({"samples": np.full((2, 8), np.nan)}, "not finite"),
        ({"samples": np.full((2, 8), 128)}, "beyond 127"),
        ({"input_scale": "1/0"}, "input_scale is '1/0'"),
        ({"input_scale": -1}, "input_scale is -1"),
        ({"samples": np.full((2, 8), 1e300)}, "beyond the range of float32"),
        ({"input_scale": "1e-300"}, r"input_scale is '1e-300'.*2\^-126 to 2\^120"),
        ({"input_scale": 10**400}, "input_scale is 1000"),
        ({"name": "1x"}, "name is '1x'"),
        ({"name": "main"}, "name is 'main', which C"),
        ({"name": "stdint"}, "name is 'stdint'"),
        ({"name": "evenbits_decode"}, "name is 'evenbits_decode'"),
        ({"name": "x" * 64}, "longer than 63 letters"),
        ({"labels": np.ones(3)}, "labels has 3 entries; there are 20 samples"),
        ({"layers": "dense"}, "layers has 1 of weights"),
        ({"layers": "dense,pool"}, "layers has 'pool'; known are dense, conv"),
        ({"layers": "dense,relu,relu,dense"}, "relu that follows no"),
        ({"layers": "dense,softmax,dense"}, "softmax before its end"),
        ({"layers": "conv,dense"}, "0.weight has shape None; a convolution has filters"),
        ({"layers": "conv:pad=x,dense"}, "layers has 'conv:pad=x'"),
        ({"input_shape": (1, 3, 3)}, "0.weight takes 8 numbers; what comes before gives 9"),
    ],
)
def test_mistakes_are_explained(model, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        export_c(model, tmp_path / "out", **{"samples": samples(), **change})
    assert not (tmp_path / "out").exists()


def test_networks_that_do_not_fit_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"1\.weight takes 7 numbers; what comes before gives 6"):
        read_network(save(tmp_path / "a", ((6, 8), (3, 7))))
    with pytest.raises(ValueError, match="an unknown shape; give the input's"):
        read_network(save(tmp_path / "b", ((6, 1, 3, 3),)))
    with pytest.raises(ValueError, match="2 channels and windows of 3x3, which do not fit"):
        read_network(save(tmp_path / "c", ((6, 2, 3, 3),)), input_shape=(1, 8, 8))
    evenbits.save(tmp_path / "d", {"weight": np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="weight is not quantized"):
        read_network(tmp_path / "d")
    evenbits.save(tmp_path / "e", {"x": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match="run evenbits quantize first"):
        read_network(tmp_path / "e")


def test_files_are_replaced_only_if_allowed(model, tmp_path):
    export_c(model, tmp_path, samples=samples())
    with pytest.raises(FileExistsError, match=r"model\.h exists already"):
        export_c(model, tmp_path, samples=samples())
    export_c(model, tmp_path, samples=samples(), overwrite=True)


def test_a_failure_leaves_the_files_as_they_were(model, tmp_path, monkeypatch):
    export_c(model, tmp_path, samples=samples())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            export_c(model, tmp_path, activations="float32", overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_decoder_that_differs_is_replaced_only_if_allowed(model, tmp_path):
    export_c(model, tmp_path, samples=samples(), name="one")
    export_c(model, tmp_path, samples=samples(), name="two")
    (tmp_path / "evenbits_decode.c").write_text("/* mine */")
    with pytest.raises(FileExistsError, match=r"evenbits_decode\.c exists already"):
        export_c(model, tmp_path, samples=samples(), name="three")
    assert not (tmp_path / "three.c").exists()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_any_names_of_tensors_give_c_that_compiles(tmp_path):
    weights = evenbits.quantize(np.eye(2, dtype=np.float32), 4, "uniform")
    for i, name in enumerate(["*/ int x;", "/* a", "\u00e4\u20ac", "a\nb", "\\", "??/", "/*/"]):
        evenbits.save(tmp_path / f"{i}.m", {f"{name}.weight": weights})
        report = export_c(tmp_path / f"{i}.m", tmp_path, samples=np.eye(2), name=f"model{i}")
        assert report["layers"][0]["name"] == f"{name}.weight"
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *flags, *tmp_path.glob("model*.c")], check=True)


@pytest.mark.parametrize("bias", [np.nan, np.inf, 1e300])
def test_a_bias_beyond_float32_is_refused(tmp_path, bias):
    weights = evenbits.quantize(np.eye(2, dtype=np.float32), 4, "uniform")
    evenbits.save(tmp_path / "m", {"0.weight": weights, "0.bias": np.array([bias, 1])})
    with pytest.raises(ValueError, match=r"bias of 0\.weight has a number that is not finite in float32"):
        read_network(tmp_path / "m")


@pytest.mark.parametrize("rows, columns", [(1, 2**24 + 1), (2**17, 2**14)])
def test_more_codes_than_the_decoder_counts_are_refused(tmp_path, rows, columns):
    spec = read_network(save(tmp_path / "m"))[0].layers[0].weights._spec
    long = dataclasses.replace(spec, shape=(rows, columns), kept=columns)
    assert "are too many; the decoder has rows of 2^24" in refusal(SimpleNamespace(_meaning=long))


def test_tiny_samples_have_a_scale_that_floats_have(model):
    ready = prepare(model, samples=np.full((2, 8), 1e-44, np.float32))
    assert ready.scale == 2.0**-126
    assert (ready.inputs == 0).all()


def test_command_writes_the_code_and_prints_the_report(digits, tmp_path, capsys):
    common = ["export", "c", str(digits), "-o", str(tmp_path), "--samples", "images", "--input-scale", "1/16"]
    assert cli.main([*common, "--labels", "labels"]) == 0
    assert "accuracy 98" in capsys.readouterr().out
    assert {"model.h", "model.c", "model.json", "evenbits_decode.h", "evenbits_decode.c"} <= {p.name for p in tmp_path.iterdir()}
    assert cli.main([*common, "--json", "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "model"
    assert cli.main([*common[:5], "--samples", "nothing", "--force"]) == 2
    assert "nothing: no such file, nor a tensor of the model" in capsys.readouterr().err
    assert cli.main([*common[:5], "--input", "3xa"]) == 2


def test_samples_come_from_files(model, tmp_path, capsys):
    np.save(tmp_path / "x.npy", samples())
    np.savez(tmp_path / "x.npz", a=samples(), b=samples())
    one = prepare(model, samples=samples()).planned
    for text in (str(tmp_path / "x.npy"), f"{tmp_path / 'x.npz'}:b"):
        assert prepare(model, samples=text).planned.layers[0].input_scale == one.layers[0].input_scale
    with pytest.raises(ValueError, match=r"x\.npz has a, b; name one as .*:TENSOR"):
        prepare(model, samples=tmp_path / "x.npz")
