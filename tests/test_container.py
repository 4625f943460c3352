import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from evenbits import _tensorfile, container
from evenbits.container import load, save, verify
from evenbits.encoded import Encoded, EncodedError, decode
from evenbits.quantizers import methods, quantize

ml_dtypes = pytest.importorskip("ml_dtypes")


@pytest.fixture
def tensors(rng):
    x = rng.standard_normal((3, 32), dtype=np.float32)
    return {
        "w": quantize(x, 2.5, "near_democratic"),
        "v": quantize(x[:2], 0.5, "uniform"),
        "bias": x[0, :5].copy(),
        "steps": np.array(7),
    }


@pytest.fixture
def file(tensors, tmp_path):
    save(tmp_path / "model.safetensors", tensors)
    return tmp_path / "model.safetensors"


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Encoded):
            assert found[name].spec == value.spec
            assert found[name].planes.keys() == value.planes.keys()
            for plane in value.planes:
                np.testing.assert_array_equal(found[name].planes[plane], value.planes[plane], strict=True)
        else:
            np.testing.assert_array_equal(found[name], value, strict=True)


def rewritten(file, change):
    """The file with its planes and its evenbits metadata changed, as another program could do it."""
    planes = load_file(file)
    with safe_open(file, framework="np") as opened:
        head = json.loads(opened.metadata()["evenbits"])
    planes, head = change(planes, head) or (planes, head)
    save_file(planes, file, metadata={"evenbits": json.dumps(head)})
    return file


def test_what_is_saved_is_loaded(file, tensors):
    assert_same(load(file), tensors)
    assert_same(load(file, verify=True), tensors)


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("bits", [0.5, 1, 2.5, 8])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_decodes_the_same_from_the_file(method, bits, dtype, rng, tmp_path):
    if method == "trellis" and not 1 <= bits <= 4:
        with pytest.raises(ValueError, match="a trellis takes 1 to 4 bits a value"):
            quantize(np.ones((4, 24), dtype), bits, method)
        return
    encoded = quantize(rng.standard_normal((4, 24)).astype(dtype), bits, method)
    save(tmp_path / "f", {"x": encoded})
    back = decode(load(tmp_path / "f", verify=True)["x"])
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, decode(encoded))


NUMPY_DTYPES = ["f8", "f4", "f2", "c8", "?", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", ">f4", ">i2"]


@pytest.mark.parametrize("dtype", [*NUMPY_DTYPES, "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (3, 4)])
def test_arrays_keep_dtype_shape_and_values(dtype, shape, rng, tmp_path):
    x = rng.integers(0, 2, shape).astype(getattr(ml_dtypes, dtype, dtype))
    save(tmp_path / "f", {"x": x, "odd": np.zeros(3, np.uint8)})
    back = load(tmp_path / "f", verify=True)["x"]
    assert back.shape == shape and back.dtype == x.dtype.newbyteorder("=") and back.flags.aligned
    np.testing.assert_array_equal(back.astype("c8"), x.astype("c8"))


def test_strided_and_read_only_arrays_and_lists_are_saved(tmp_path):
    x = np.arange(24).reshape(4, 6)[::2, ::-3]
    x.flags.writeable = False
    save(tmp_path / "f", {"x": x, "list": [[1.0, 2.0]]})
    assert_same(load(tmp_path / "f"), {"x": np.ascontiguousarray(x), "list": np.array([[1.0, 2.0]])})


def test_an_empty_container_is_a_container(tmp_path):
    save(tmp_path / "f", {})
    assert load(tmp_path / "f", verify=True) == {}


def test_any_safetensors_reader_sees_the_planes(file, tensors):
    planes = load_file(file)
    assert set(planes) == {"w.codes", "w.scales", "v.codes", "v.scales", "bias", "steps"}
    np.testing.assert_array_equal(planes["w.codes"], tensors["w"].planes["codes"], strict=True)
    with safe_open(file, framework="np") as opened:
        assert set(opened.metadata()) == {"evenbits"}


def test_every_plane_is_aligned_to_its_items(file):
    begin = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8:begin])
    assert begin % 8 == 0
    for name, plane in load_file(file).items():
        assert header[name]["data_offsets"][0] % plane.itemsize == 0


PROGRAM = """
import sys, numpy as np
from evenbits.container import save
from evenbits.quantizers import quantize
x = np.arange(-48, 48, dtype=np.float32).reshape(3, 32)
names = sys.argv[2].split()
save(sys.argv[1], {n: quantize(x, 3) if n in "ab" else x for n in names})
"""


def test_the_same_tensors_give_the_same_bytes_in_every_process(tmp_path):
    sums = set()
    for i, order in enumerate(["a b c d", "d c b a", "c a d b"]):
        path = tmp_path / f"{i}"
        env = os.environ | {"PYTHONHASHSEED": str(i)}
        subprocess.run([sys.executable, "-c", PROGRAM, path, order], check=True, env=env)
        sums.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(sums) == 1


def test_loading_reads_no_more_than_the_header(file, tensors, monkeypatch):
    reads = []
    monkeypatch.setattr(container, "checksum", lambda data: reads.append(1))
    load(file)
    assert not reads


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"w.codes": np.zeros(3)}, ValueError, r"w\.codes.*already has a tensor of that name; rename one"),
        ({"__metadata__": np.zeros(3)}, ValueError, "reserves that name"),
        ({7: np.zeros(3)}, TypeError, "7 is a int; it must be a string"),
        ({"text": np.array(["a"])}, TypeError, "text has dtype <U1, which safetensors cannot hold"),
        ({"things": np.array([object()])}, TypeError, "things has dtype object"),
        ({"z": np.zeros(3, "c16")}, TypeError, "z has dtype complex128"),
        ({"ragged": [[1], [1, 2]]}, ValueError, "ragged is not an array"),
    ],
)
def test_refuses_what_a_file_cannot_hold(extra, error, message, tensors, tmp_path):
    with pytest.raises(error, match=message):
        save(tmp_path / "f", tensors | extra)
    assert not os.listdir(tmp_path)


def test_refuses_codes_that_contradict_their_spec(tensors, tmp_path):
    w = tensors["w"]
    with pytest.raises(EncodedError, match="codes"):
        save(tmp_path / "f", {"w": Encoded(w.planes | {"codes": w.planes["codes"][:1]}, w.spec)})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(where, error, file, tensors, monkeypatch):
    before = file.read_bytes()

    def fail(*arguments):
        raise error

    monkeypatch.setattr(_tensorfile.os, where, fail)
    with pytest.raises(type(error)):
        save(file, tensors | {"more": np.ones(99)})
    assert os.listdir(file.parent) == [file.name] and file.read_bytes() == before


def test_a_failure_while_data_is_read_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError("the source is gone")

    late = _tensorfile.Tensor("U8", (3,), 3, fail)
    with pytest.raises(RuntimeError, match="the source is gone"):
        save(tmp_path / "f", {"a": np.ones(9), "z": late})
    assert not os.listdir(tmp_path)


def test_a_failed_save_does_not_touch_a_link_and_a_good_one_follows_it(file, tensors):
    link = file.with_name("link")
    link.symlink_to(file)
    save(link, {"x": np.ones(2)})
    assert link.is_symlink() and list(load(file)) == ["x"]


@pytest.mark.parametrize("place", [".", "/dev/null"])
def test_refuses_to_replace_what_is_no_ordinary_file(place, tmp_path, monkeypatch, tensors):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="not an ordinary file"):
        save(place, tensors)
    assert not os.listdir(tmp_path)


def test_refuses_a_directory_that_does_not_exist(tmp_path, tensors):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(tmp_path / "nowhere" / "f", tensors)


def test_a_file_may_overwrite_the_one_its_arrays_come_from(file, tensors):
    save(file, load(file))
    assert_same(load(file, verify=True), tensors)


def test_a_limit_is_kept(tensors, tmp_path):
    entries = [container.entry_of(name, value) for name, value in tensors.items()]
    size = container.file_size(entries)
    with pytest.raises(ValueError, match=f"would take {size} bytes, more than the {size - 1} allowed"):
        container.write(tmp_path / "f", entries, limit=size - 1)
    assert not os.listdir(tmp_path)
    assert container.write(tmp_path / "f", entries, limit=size) == size == (tmp_path / "f").stat().st_size


@pytest.mark.parametrize("method", [name for name, kind in methods().items() if kind.fixed])
@pytest.mark.parametrize("bits", [0.5, 1, 2.5, 8])
def test_the_size_of_a_file_is_known_from_specs_alone(method, bits, rng, tmp_path):
    quantizer = methods()[method](bits)
    planned = container.file_size([container.entry_of('é"x', quantizer.spec((5, 40), "float32"), (5, 8, 5))])
    encoded = quantizer.encode(rng.standard_normal((5, 40), dtype=np.float32))
    assert container.write(tmp_path / "f", [container.entry_of('é"x', encoded, (5, 8, 5))]) == planned


def test_foreign_metadata_is_kept(file, tensors):
    container.write(file, [container.entry_of("x", np.ones(2))], metadata={"format": "pt", "evenbits": "gone"})
    entries, others = container.read(file)
    assert list(entries) == ["x"] and others == {"format": "pt"}


def test_verify_tells_what_it_read(file):
    found = verify(file)
    assert found.ok and found.damaged == () and (found.tensors, found.planes) == (4, 6)
    assert found.nbytes == sum(plane.nbytes for plane in load_file(file).values())


def test_every_flip_in_the_data_is_found_and_named(file):
    good = file.read_bytes()
    begin = 8 + int.from_bytes(good[:8], "little")
    header = json.loads(good[8:begin])
    owner = {
        i: name
        for name, entry in header.items()
        if name != "__metadata__"
        for i in range(begin + entry["data_offsets"][0], begin + entry["data_offsets"][1])
    }
    assert sorted(owner) == list(range(begin, len(good)))
    for i in range(begin, len(good)):
        for bit in range(8):
            file.write_bytes(good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :])
            assert verify(file).damaged == (owner[i],)
        with pytest.raises(EncodedError, match=f"data of {owner[i]} does not match"):
            load(file, verify=True)


def test_every_truncation_is_refused(file):
    good = file.read_bytes()
    for length in range(len(good)):
        file.write_bytes(good[:length])
        for read in (load, verify):
            with pytest.raises(EncodedError, match=r"model\.safetensors"):
                read(file)
    file.write_bytes(good + b"\0")
    with pytest.raises(EncodedError, match=r"model\.safetensors"):
        load(file)


def test_no_flip_anywhere_crashes_or_changes_what_is_loaded(file, tensors, rng):
    good = file.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    refused = 0
    for i in np.concatenate([rng.integers(0, header, 1500), rng.integers(0, len(good), 500)]):
        bad = bytearray(good)
        bad[i] ^= 1 << rng.integers(8)
        if rng.integers(2):
            bad[rng.integers(header)] ^= 1 << rng.integers(8)
        file.write_bytes(bad)
        try:
            found = load(file, verify=True)
        except EncodedError:
            refused += 1
        else:
            assert_same(found, tensors)
    assert refused > 1900


def test_a_foreign_file_is_refused_with_the_remedy(file):
    save_file({"x": np.ones(3)}, file)
    for read in (load, verify):
        with pytest.raises(EncodedError, match=r"not written by evenbits.*evenbits quantize.*load_file"):
            read(file)
    file.write_bytes(b"something else altogether")
    with pytest.raises(EncodedError, match="truncated, damaged or no safetensors file"):
        load(file)


def test_missing_files_and_directories_are_plain_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_version_is_refused(version, file):
    rewritten(file, lambda planes, head: head.update(version=version))
    with pytest.raises(EncodedError, match=f"has version {version!r}; this evenbits reads version 1"):
        load(file)


def without(planes, name):
    return {key: value for key, value in planes.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda planes, head: (without(planes, "w.scales"), head), r"lacks the tensor w\.scales"),
        (lambda planes, head: (without(planes, "bias"), head), "lacks the tensor bias"),
        (lambda planes, head: planes.update(other=np.ones(3)), "has a tensor that evenbits did not write: other"),
        (lambda planes, head: planes.update({"w.codes": planes["w.codes"][:, :-1].copy()}), r"w: plane 'codes'"),
        (lambda planes, head: planes.update({"w.scales": planes["w.scales"].astype("f8")}), r"w: plane 'scales'"),
        (lambda planes, head: head["tensors"]["v"]["spec"].update(format=9), r"v: spec\.format is 9"),
        (lambda planes, head: head["tensors"]["v"]["spec"].update(seed=9), "header does not match its checksum"),
        (lambda planes, head: planes.update(bias=planes["bias"].view(np.int32)), "header does not match its checksum"),
        (lambda planes, head: head["tensors"]["v"].update(shape=[7]), r"v: shape is \(7,\)"),
        (lambda planes, head: head["tensors"]["v"].update(shape=[-1]), "what its metadata says of v makes no sense"),
        (lambda planes, head: head["tensors"].update(v=[]), "what its metadata says of v makes no sense"),
        (lambda planes, head: head.update(tensors=3), "lists no tensors"),
        (lambda planes, head: head.pop("crc32") and None, "header does not match its checksum"),
        (lambda planes, head: (planes, [1]), "its metadata cannot be read"),
    ],
)
def test_tampering_is_named(change, message, file):
    rewritten(file, change)
    for read in (load, verify):
        with pytest.raises(EncodedError, match=message):
            read(file)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 10_000, "\x00"])
def test_metadata_that_is_no_json_is_refused(text, file):
    save_file({"x": np.ones(3)}, file, metadata={"evenbits": text})
    with pytest.raises(EncodedError, match="its metadata cannot be read"):
        load(file)


def test_without_safetensors_the_remedy_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "evenbits\[models\]"'):
        load(file)


def test_without_ml_dtypes_bfloat16_comes_as_the_same_float32(rng, tmp_path, monkeypatch):
    x = rng.standard_normal(99).astype(ml_dtypes.bfloat16)
    save(tmp_path / "f", {"x": x, "f8": x.astype(ml_dtypes.float8_e5m2)})
    entries, _ = container.read(tmp_path / "f")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    np.testing.assert_array_equal(entries["x"].value(), x.astype(np.float32), strict=True)
    with pytest.raises(ModuleNotFoundError, match="F8_E5M2 tensors need ml_dtypes"):
        entries["f8"].value()


def test_bfloat16_rounds_to_nearest_with_ties_to_even(rng):
    x = rng.standard_normal(10_000).astype(np.float32)
    ties = (rng.integers(0x3F80, 0x4080, 1000, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    for values in (x, ties, -ties):
        found = _tensorfile.float_tensor("bfloat16", values.shape, lambda values=values: values)
        np.testing.assert_array_equal(found.array(), values.astype(ml_dtypes.bfloat16), strict=True)
