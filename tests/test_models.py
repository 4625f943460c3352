import json
import math
import os
import sys
import types
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import evenbits
from evenbits import container
from evenbits.container import load, verify
from evenbits.encoded import Encoded, EncodedError, decode
from evenbits.models import decode_model, default_output, inspect_model, open_model, parse_budget, quantize_model
from evenbits.models.digits import RATES, load_digits, trials
from evenbits.models.plan import choose, make_plan
from evenbits.models.read import Model
from evenbits.models.report import shape_text, size_text, table
from evenbits.quantizers import methods, quantize

ml_dtypes = pytest.importorskip("ml_dtypes")


@pytest.fixture
def arrays(rng):
    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    return {
        "embed.weight": normal(50, 16),
        "conv.weight": normal(12, 3, 5, 5),
        "fc.weight": normal(40, 75),
        "fc.bias": normal(40),
        "half.weight": normal(20, 64).astype(np.float16),
        "brain.weight": normal(20, 64).astype(ml_dtypes.bfloat16),
        "double.weight": normal(20, 64).astype(np.float64),
        "tiny.weight": normal(2, 2),
        "empty.weight": normal(0, 4),
        "scale": np.array(0.5, np.float32),
        "eight": normal(4, 4).astype(ml_dtypes.float8_e4m3fn),
        "steps": np.array([3, 4]),
    }


@pytest.fixture
def model(arrays, tmp_path):
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


ENCODED = {"conv.weight", "fc.weight", "half.weight", "brain.weight", "double.weight"}


def same_bytes(one, other):
    return Path(one).read_bytes() == Path(other).read_bytes()


def kept(report):
    return {row.name: row.kept for row in report.rows if row.kept}


def test_matrices_are_quantized_and_the_rest_kept_as_it_was(model, arrays):
    report = quantize_model(model)
    assert report.output == str(model.with_name("model.evenbits.safetensors"))
    found = load(report.output, verify=True)
    assert {name for name, value in found.items() if isinstance(value, Encoded)} == ENCODED
    for name in arrays.keys() - ENCODED:
        np.testing.assert_array_equal(found[name], arrays[name], strict=True)
    assert kept(report) == {
        "embed.weight": "an embedding",
        "fc.bias": "1-D",
        "tiny.weight": "codes take no less",
        "empty.weight": "empty",
        "scale": "a scalar",
        "eight": "float8_e4m3fn",
        "steps": "int64",
    }


@pytest.mark.parametrize("method", [name for name in methods() if name != "entropy_trellis"])
@pytest.mark.parametrize("bits", [0.5, 2.5, 4])
def test_codes_are_those_of_quantize(method, bits, model, arrays):
    if method == "trellis" and bits < 1:
        with pytest.raises(ValueError, match="a trellis takes 1 to 4 bits a value"):
            quantize_model(model, method=method, bits=bits)
        return
    found = load(quantize_model(model, method=method, bits=bits, seed=3).output)
    for stream, name in enumerate(sorted(ENCODED)):  # every tensor draws numbers of its own
        rows = arrays[name].reshape(len(arrays[name]), -1)
        expected = quantize(rows, bits, method, seed=3, stream=stream)
        assert found[name].spec == expected.spec
        for plane in expected.planes:
            np.testing.assert_array_equal(found[name].planes[plane], expected.planes[plane], strict=True)


def test_codes_of_entropy_trellis_are_those_of_quantize_where_a_tensor_is_worth_its_model(model, rng, tmp_path):
    x = rng.standard_normal((128, 256), dtype=np.float32)
    save_file({"large": x, "small": x[:2, :16].copy()}, model)
    found = load(quantize_model(model, method="entropy_trellis", bits=2, seed=3).output)
    np.testing.assert_array_equal(found["small"], x[:2, :16])
    expected = quantize(x, 2, "entropy_trellis", seed=3)
    assert found["large"].spec == expected.spec and found["large"].planes.keys() == expected.planes.keys()
    for name, plane in expected.planes.items():
        np.testing.assert_array_equal(found["large"].planes[name], plane, strict=True)


def test_codes_do_not_depend_on_ml_dtypes(model, monkeypatch):
    first = quantize_model(model).output
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    second = quantize_model(model, str(model) + "2").output
    assert same_bytes(first, second)
    decode_model(second, str(model) + "3")
    monkeypatch.undo()
    decode_model(first, str(model) + "4")
    assert same_bytes(str(model) + "3", str(model) + "4")


@pytest.mark.parametrize("workers", [2, 7, -1])
def test_bytes_do_not_depend_on_workers(workers, model):
    one, many = (quantize_model(model, f"{model}{n}", workers=n).output for n in (1, workers))
    assert same_bytes(one, many)


def test_decoding_gives_the_model_back_with_its_dtypes_shapes_and_metadata(model, arrays, tmp_path):
    report = quantize_model(model, bits=8)
    decode_model(report.output, tmp_path / "back")
    back = open_model(tmp_path / "back")
    assert back.metadata == {"format": "pt"}
    errors = {row.name: row.error for row in report.quantized}
    for name, x in arrays.items():
        found = back.tensors[name].array()
        assert found.dtype == x.dtype and found.shape == x.shape
        if name in ENCODED:
            difference = np.linalg.norm(found.astype(float) - x.astype(float)) / np.linalg.norm(x.astype(float))
            assert difference == pytest.approx(errors[name], rel=1e-3) and difference < 0.02
        else:
            np.testing.assert_array_equal(found, x)


def test_decoding_refuses_a_damaged_file_and_leaves_nothing(model, tmp_path):
    coded = tmp_path / "coded"
    quantize_model(model, coded)
    data = bytearray(coded.read_bytes())
    data[-1] ^= 1
    coded.write_bytes(data)
    with pytest.raises(EncodedError, match=r"coded is damaged: the data of .* does not match"):
        decode_model(coded, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_patterns_choose(model):
    def quantized(**patterns):
        return {row.name for row in quantize_model(model, overwrite=True, **patterns).quantized}

    assert quantized(include=["embed*"]) == ENCODED | {"embed.weight"}
    assert quantized(include=["*bias"], bits=0.1) == ENCODED  # 40 values are fewer than their spec
    assert quantized(include=["embed*"], exclude=["[!e]*"]) == {"embed.weight"}
    assert quantized(exclude=["[!f]*"]) == {"fc.weight"}


def test_exclude_wins_over_include_and_include_over_the_rules(model):
    tensors = open_model(model).tensors
    assert "embed.weight" in choose(tensors)
    assert "embed.weight" not in choose(tensors, include=["*"])
    assert "fc.bias" not in choose(tensors, include=["*"])
    assert choose(tensors, include=["*"], exclude=["e*"])["embed.weight"] == "excluded"
    assert choose(tensors, include=["*"])["steps"] == "int64"


@pytest.mark.parametrize(
    ("path", "output"),
    [("a/m.safetensors", "a/m"), ("m.v1.pt", "m.v1"), ("m.npz", "m"), ("m", "m"), ("m-1.5", "m-1.5"), (".m", ".m")],
)
def test_the_output_is_named_after_the_model(path, output):
    assert default_output(path) == f"{output}.evenbits.safetensors"


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_a_pattern_without_a_match_is_a_mistake(word, model):
    with pytest.raises(ValueError, match=f"{word} pattern 'no.*' matches no tensor"):
        quantize_model(model, **{word: ["no*"]})


def test_a_model_without_matrices_is_a_mistake(tmp_path):
    save_file({"bias": np.ones(9)}, tmp_path / "m")
    with pytest.raises(ValueError, match="m has no tensor to quantize"):
        quantize_model(tmp_path / "m")


def test_a_long_vector_can_be_included(rng, tmp_path):
    x = rng.standard_normal(5000, dtype=np.float32)
    save_file({"bias": x}, tmp_path / "m")
    found = load(quantize_model(tmp_path / "m", tmp_path / "out", include=["bias"]).output)["bias"]
    assert found.shape == (5000,) and found.error(x) < 0.12


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("budget", [1, 1.5, "2", 2.75, Fraction(10, 3), 4, 5, 6.1, 9, 30])
def test_a_budget_of_bits_is_a_ceiling_over_the_chosen_tensors(method, budget, rng, tmp_path):
    save_file({"a": rng.standard_normal((200, 64)), "b": rng.standard_normal((64, 300)).astype("f4")}, tmp_path / "m")
    if method == "trellis" and budget == 1:  # which its codes alone take
        with pytest.raises(ValueError, match="which is impossible; the least for this model"):
            quantize_model(tmp_path / "m", tmp_path / "out", budget=budget, method=method)
        return
    report = quantize_model(tmp_path / "m", tmp_path / "out", budget=budget, method=method)
    coded = load(report.output)
    values = sum(math.prod(value.shape) for value in coded.values())
    bits = Fraction(8 * sum(value.nbytes for value in coded.values()), values)
    assert bits <= Fraction(str(budget)) and bits == pytest.approx(report.bits_per_value)
    if methods()[method].fixed and report.bits < (8 if method in ("lloyd_max", "kashin") else 16):
        larger = quantize_model(tmp_path / "m", tmp_path / "2", bits=Fraction(report.bits + 1 / 64), method=method)
        assert larger.bits_per_value > Fraction(budget)


@pytest.mark.parametrize("budget", ["0.3", "1", "2.37", "25kB", "60kB"])
def test_an_entropy_trellis_takes_all_that_a_budget_allows(budget, rng, tmp_path):
    shapes = {"a": (130, 500), "b": (3, 4), "c": (40, 12, 100), "d": (64, 256)}
    arrays = {name: rng.standard_t(5, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(arrays | {"d": arrays["d"].astype(ml_dtypes.bfloat16), "bias": np.ones(9)}, tmp_path / "m")
    options = {"budget": budget, "method": "entropy_trellis", "states": 4}
    one, many = (quantize_model(tmp_path / "m", tmp_path / f"{n}", workers=n, **options) for n in (1, 3))
    assert same_bytes(one.output, many.output) and len(one.quantized) == 3
    if "B" in budget:
        allowed, taken, most = parse_budget(budget).size, one.output_bytes, 400  # of the last tensor's part of the header
    else:
        allowed = float(budget) * sum(math.prod(shape) for shape in shapes.values()) / 8
        taken, most = sum(row.after for row in one.rows if row.name != "bias"), 30
    assert 0.999 * allowed - most < taken <= allowed


@pytest.mark.parametrize("bits", [2, 3])
def test_budgets_of_small_files_are_shared_as_well_as_bits_are(bits, tmp_path):
    """What is kept for headers at first would else come to the last tensors alone."""
    path = Path(evenbits.__file__).parent / "data" / "digits.safetensors"
    reports = [quantize_model(path, tmp_path / "a", bits=bits, method="entropy_trellis", states=8)]
    size = (tmp_path / "a").stat().st_size
    reports.append(quantize_model(path, tmp_path / "b", budget=f"{size}B", method="entropy_trellis", states=8))
    assert size - 200 < (tmp_path / "b").stat().st_size <= size
    plain, shared = (sum((row.error * row.norm) ** 2 for row in report.rows if row.error is not None) for report in reports)
    assert shared < 1.25 * plain


@pytest.mark.parametrize("size", [1800, 2200, 2400, 2600])
def test_a_budget_that_leaves_hardly_a_stream_is_a_ceiling_or_impossible(size, rng, tmp_path):
    save_file({"a": rng.standard_normal((24, 2, 63)), "b": rng.standard_t(1.1, (7, 150))}, tmp_path / "m")
    options = {"method": "entropy_trellis", "states": 4, "certificate": True}
    try:
        assert quantize_model(tmp_path / "m", tmp_path / "f", budget=f"{size}B", **options).output_bytes <= size
    except ValueError as error:
        assert size < 2200 and "which is impossible; the least for this model is" in str(error)


@pytest.mark.parametrize("size", [13_000, "14kB", 15_111, "16 kB", "17KiB", "0.02MB", "25000B", "1GiB"])
def test_a_budget_of_bytes_is_a_ceiling_on_the_file(size, model):
    size = f"{size}B" if isinstance(size, int) else size
    report = quantize_model(model, budget=size)
    allowed = parse_budget(size).size
    assert report.output_bytes == os.path.getsize(report.output) <= allowed
    assert verify(report.output).ok
    if report.bits < 16:
        bigger = quantize_model(model, f"{report.output}2", bits=Fraction(report.bits) + Fraction(1, 64))
        assert bigger.output_bytes > allowed


@pytest.mark.parametrize(("budget", "unit"), [("0.01", "bits a value"), ("900B", "bytes")])
def test_an_impossible_budget_names_the_least_that_is_possible(budget, unit, model):
    with pytest.raises(ValueError, match=f"which is impossible; the least for this model is (.*) {unit}") as error:
        quantize_model(model, budget=budget)
    assert os.listdir(model.parent) == [model.name]
    least = str(error.value).split(" is ")[-1].removesuffix(f" {unit}")
    quantize_model(model, budget=least + ("B" if unit == "bytes" else ""))


def test_rows_too_short_for_a_rate_get_one_code_each(rng, tmp_path):
    save_file({"short": rng.standard_normal((5000, 4)), "long": rng.standard_normal((100, 256))}, tmp_path / "m")
    report = quantize_model(tmp_path / "m", tmp_path / "out", bits=Fraction(1, 100), method="uniform")
    assert {row.name: row.bits for row in report.quantized} == {"short": 0.25, "long": 0.01}


def test_a_rate_that_a_method_lacks_is_named_before_the_work(model):
    with pytest.raises(ValueError, match="bits"):
        quantize_model(model, method="lloyd_max", bits=9)
    report = quantize_model(model, method="uniform", grid="mid_tread", budget=5)
    assert report.bits_per_value <= 5 and report.options == {"grid": "mid_tread"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12MB", (None, 12_000_000)),
        ("12MiB", (None, 12 * 2**20)),
        ("500kB", (None, 500_000)),
        ("500KB", (None, 500_000)),
        ("1.5 KiB", (None, 1536)),
        ("2GB", (None, 2 * 10**9)),
        (".5GiB", (None, 2**29)),
        ("77B", (None, 77)),
        ("0.0015kB", (None, 1)),
        ("2.5", (Fraction(5, 2), None)),
        ("7/3", (Fraction(7, 3), None)),
        (3, (Fraction(3), None)),
        (0.1, (Fraction(1, 10), None)),
    ],
)
def test_budgets_are_read(text, expected):
    budget = parse_budget(text)
    assert (budget.bits, budget.size) == expected


@pytest.mark.parametrize("text", ["", "x", "12M", "12mb", "12iB", "nan", "inf", "-1", "0", "0MB", "1/0", "-3MB"])
def test_other_budgets_are_refused(text):
    with pytest.raises(ValueError, match="budget is"):
        parse_budget(text)


@settings(deadline=None, max_examples=40)
@given(
    shapes=st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=4), min_size=1, max_size=5),
    method=st.sampled_from(list(methods())),
    bits=st.fractions(Fraction(1, 2), 8),
)
def test_plans_of_any_shapes_stay_below_their_budget(shapes, method, bits):
    arrays = {f"w{i}": np.ones(shape, np.float32) for i, shape in enumerate(shapes)}
    model = Model("m", {name: container.tensor_of(x) for name, x in arrays.items()}, {})
    values = sum(x.size for x in arrays.values())
    budget = parse_budget(f"{max(1, int(bits * values / 8)) + 300 * len(shapes)}B")
    try:
        plan = make_plan(model, method=method, budget=budget)
    except ValueError as error:
        assert "impossible" in str(error) or ("numbers of codewords" in str(error) and method == "residual")  # for long rows
        return
    entries = []
    for name, x in arrays.items():
        value = plan.quantizers[name].encode(x.reshape(len(x), -1)) if name in plan.quantizers else x
        entries.append(container.entry_of(name, value, x.shape if x.ndim > 2 and name in plan.quantizers else None))
    assert container.file_size(entries) <= budget.size


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_archives_are_read(save, arrays, tmp_path):
    plain = {name: x for name, x in arrays.items() if x.dtype.name in ("float16", "float32", "float64", "int64")}
    plain["fortran"], plain["big"] = np.asfortranarray(plain["fc.weight"]), plain["fc.weight"].astype(">f4")
    save(tmp_path / "m.npz", **plain)
    native = {name: np.array(x, x.dtype.newbyteorder("="), order="C") for name, x in plain.items()}
    save_file(native, tmp_path / "m")
    tensors = open_model(tmp_path / "m.npz").tensors
    for name, x in plain.items():
        assert tensors[name].shape == x.shape and tensors[name].nbytes == x.nbytes
        np.testing.assert_array_equal(tensors[name].array(), x)
    one, other = (quantize_model(tmp_path / name, tmp_path / f"{name}.out").output for name in ("m", "m.npz"))
    assert same_bytes(one, other)


@pytest.mark.parametrize("bad", [np.array([object()]), np.array(["text"]), np.ones(3, "c16"), np.zeros(2, "i4,f4")])
def test_npz_members_that_are_no_numbers_are_named(bad, tmp_path):
    np.savez(tmp_path / "m.npz", good=np.ones((3, 3)), bad=bad)
    with pytest.raises((ValueError, TypeError), match="bad"):
        open_model(tmp_path / "m.npz")


def test_truncated_archives_are_refused(rng, tmp_path):
    path = tmp_path / "m.npz"
    np.savez_compressed(path, x=rng.standard_normal((8, 8)), y=np.ones(3))
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises((EncodedError, OSError)):
            for tensor in open_model(path).tensors.values():
                tensor.array()


def test_damaged_archives_never_give_other_numbers(rng, tmp_path):
    path = tmp_path / "m.npz"
    x = rng.standard_normal((8, 8))
    np.savez_compressed(path, x=x)
    good = path.read_bytes()
    for _ in range(500):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            (found,) = (tensor.array() for tensor in open_model(path).tensors.values())
        except (ValueError, TypeError, OSError, ModuleNotFoundError):
            continue
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "truncated"), (b"hello world, hello", "no safetensors file"), (b"PK\x03\x04 no zip", "or damaged")],
)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(EncodedError, match=message):
        quantize_model(tmp_path / "m")


def test_an_unknown_dtype_is_refused(model):
    model.write_bytes(model.read_bytes().replace(b'"F16"', b'"F19"'))
    with pytest.raises(EncodedError, match="F19"):
        quantize_model(model)


def test_a_quantized_model_is_not_quantized_again(model):
    output = quantize_model(model).output
    with pytest.raises(ValueError, match="is quantized already"):
        quantize_model(output)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_named_with_their_tensor_and_index(value, model, arrays):
    arrays["conv.weight"][5, 1, 2, 3] = value
    save_file(arrays, model)
    with pytest.raises(ValueError, match=rf"conv\.weight\[5, 1, 2, 3\] is {value}; replace"):
        quantize_model(model)
    assert os.listdir(model.parent) == [model.name]


def test_nan_in_a_kept_tensor_is_kept(model, arrays):
    arrays["fc.bias"][3] = np.nan
    save_file(arrays, model)
    np.testing.assert_array_equal(load(quantize_model(model).output)["fc.bias"], arrays["fc.bias"])


def test_names_that_would_collide_are_refused(model, arrays):
    save_file(arrays | {"fc.weight.codes": np.ones(3)}, model)
    with pytest.raises(ValueError, match=r"fc\.weight\.codes"):
        quantize_model(model)
    assert os.listdir(model.parent) == [model.name]


def test_outputs_are_checked_before_the_work(model, tmp_path):
    with pytest.raises(ValueError, match="is the input"):
        quantize_model(model, model, overwrite=True)
    with pytest.raises(IsADirectoryError):
        quantize_model(model, tmp_path)
    with pytest.raises(FileNotFoundError, match="directory that does not exist"):
        quantize_model(model, tmp_path / "no" / "out")
    output = quantize_model(model).output
    with pytest.raises(FileExistsError, match="exists already"):
        quantize_model(model)
    quantize_model(model, output, overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "method is 'magic'.*uniform"),
        ({"bits": 17}, "bits is 17"),
        ({"bits": 0}, "bits is 0"),
        ({"bits": 3, "budget": 4}, "bits and budget are both given"),
        ({"shine": 1}, "near_democratic has no option 'shine'; it has .*rounding"),
        ({"rounding": "up"}, "rounding is 'up'"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, model):
    with pytest.raises(ValueError, match=message):
        quantize_model(model, **arguments)
    assert os.listdir(model.parent) == [model.name]


def test_the_report_adds_up(model, arrays):
    report = quantize_model(model, bits=3)
    found = load(report.output)
    for row in report.quantized:
        x = arrays[row.name].astype(np.float64).reshape(found[row.name].shape)
        assert row.error == pytest.approx(found[row.name].error(x), rel=1e-2)
        assert (row.before, row.after) == (arrays[row.name].nbytes, found[row.name].nbytes)
        assert row.bits_per_value == pytest.approx(found[row.name].bits_per_value)
    x = np.concatenate([arrays[row.name].astype(np.float64).ravel() for row in report.quantized])
    y = np.concatenate([decode(found[row.name]).astype(np.float64).ravel() for row in report.quantized])
    assert report.error == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(x), rel=1e-3)
    assert report.output_bytes == os.path.getsize(report.output)
    account = json.loads(json.dumps(report.as_json()))
    assert account["total"]["bytes_before"] == sum(x.nbytes for x in arrays.values())
    assert account["total"]["quantized_values"] == x.size
    assert [row["name"] for row in account["tensors"]] == list(open_model(model).tensors)


def test_progress_hears_of_every_tensor(model):
    heard = []
    report = quantize_model(model, progress=lambda *now: heard.append(now))
    total = sum(row.size for row in report.quantized)
    assert [name for _, _, name in heard] == [row.name for row in report.quantized] + [report.output]
    assert heard[0][0] == 0 and heard[-1][:2] == (total, total)
    assert all(earlier[0] < later[0] for earlier, later in pairwise(heard))


def test_inspect_lists_models_and_codes(model, arrays):
    output = quantize_model(model).output
    for path in (model, output):
        rows = {row.name: row for row in inspect_model(path)}
        assert {name: (row.shape, row.dtype) for name, row in rows.items()} == {
            name: (x.shape, x.dtype.name) for name, x in arrays.items()
        }
    assert {name for name, row in rows.items() if row.method == "near_democratic"} == ENCODED


class FakeTorchTensor:
    layout = "torch.strided"

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, f"torch.{array.dtype.name}"

    def detach(self):
        return self

    contiguous = detach

    def reshape(self, size):
        return FakeTorchTensor(self.array.reshape(size))

    def view(self, dtype):
        return FakeTorchTensor(self.array.view(dtype))

    def numpy(self):
        return self.array

    def numel(self):
        return self.array.size

    def element_size(self):
        return self.array.itemsize


@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
def test_torch_checkpoints_are_read_weights_only(nested, arrays, model, tmp_path, monkeypatch):
    asked = []

    def load_checkpoint(path, **options):
        asked.append(options)
        if options.pop("mmap", False):
            raise RuntimeError("mmap can only be used with files saved with the new format")
        state = {name: FakeTorchTensor(x) for name, x in arrays.items()}
        return {nested: state, "epoch": 3} if nested else state

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load_checkpoint, uint8=np.uint8))
    (tmp_path / "m.pt").write_bytes(b"\x80\x02 a pickle")
    report = quantize_model(tmp_path / "m.pt")
    assert [options["weights_only"] for options in asked] == [True, True]
    found, expected = load(report.output), load(quantize_model(model).output)
    assert found.keys() == expected.keys()
    for name in ENCODED:
        np.testing.assert_array_equal(decode(found[name]), decode(expected[name]))


def test_torch_checkpoints_without_torch_name_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "m.pt").write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "evenbits\[torch\]"'):
        open_model(tmp_path / "m.pt")


def test_the_bundled_model_reads_digits():
    digits = load_digits()
    assert digits.accuracy() > 0.95
    assert digits.accuracy([np.zeros_like(weight) for weight in digits.weights]) < 0.2


def test_more_bits_read_more_digits():
    digits = load_digits()
    found = {(t.method, t.bits): t for t in trials(digits, seeds=range(2))}
    every = {(method, bits) for method in methods() for bits in RATES if method != "trellis" or 1 <= bits <= 4}
    assert found.keys() == every and len(every) == len(RATES) * len(methods()) - 3
    for method in (name for name, kind in methods().items() if kind.fixed):
        assert found[method, 8].accuracy == pytest.approx(digits.accuracy(), abs=0.01)
        assert found[method, Fraction(1, 2)].accuracy < found[method, 2].accuracy
        errors = [found[method, bits].error for bits in RATES[1:]]
        assert errors == sorted(errors, reverse=True)
        sizes = [found[method, bits].bits_per_value for bits in RATES]
        assert sizes == sorted(sizes) and all(size > bits for size, bits in zip(sizes, RATES, strict=True))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (45_600_000, "45.6 MB"),
        (7.2e9, "7.20 GB"),
        (1.2e13, "12000 GB"),
    ],
)
def test_sizes_have_three_digits(size, text):
    assert size_text(size) == text


def test_tables_are_aligned():
    lines = table(["name", "n"], [["a", "1"], ["long name", "22"]], "lr", ["sum", "23"]).split("\n")
    assert lines == ["name        n", "─" * 13, "a           1", "long name  22", "─" * 13, "sum        23"]
    assert shape_text((3, 4)) == "3 × 4"


def test_the_text_of_a_report_names_all_that_happened(model):
    text = quantize_model(model).text()
    for words in (*ENCODED, "kept: an embedding", "kept: codes take no less", "total", "smaller", "12 × 3 × 5 × 5"):
        assert words in text
    assert len({len(line) for line in text.split("\n") if line.startswith("─")}) == 1


def test_a_file_written_and_decoded_is_read_by_safetensors(model, tmp_path):
    decode_model(quantize_model(model).output, tmp_path / "back.safetensors")
    with safe_open(tmp_path / "back.safetensors", framework="np") as opened:
        assert opened.get_tensor("conv.weight").shape == (12, 3, 5, 5)


def test_real_torch_checkpoints_are_read_and_code_in_them_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")

    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    weights = {"state_dict": {"0.weight": torch.arange(4096).reshape(64, 64).to(torch.bfloat16), "0.bias": torch.ones(8)}}
    torch.save(weights, tmp_path / "good.pt")
    found = load(quantize_model(tmp_path / "good.pt", bits=8).output)
    assert found["0.weight"].dtype == "bfloat16"
    assert found["0.weight"].error(weights["state_dict"]["0.weight"].float().numpy()) < 0.02
    torch.save({"w": torch.ones(4, 4), "code": Code()}, tmp_path / "bad.pt")
    with pytest.raises(EncodedError, match="holds more than weights, which is not run") as caught:
        quantize_model(tmp_path / "bad.pt")
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
