"""What a compiler and a linker must be able to rely on, proved with those of this machine (CXX and NM name others)."""

import ctypes
import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import evenbits
from evenbits import _core

ROOT = Path(__file__).parent.parent
HEADER = Path(evenbits.get_include()) / "evenbits.h"


def tool(variable, *usual):
    found = filter(None, map(shutil.which, filter(None, [os.environ.get(variable), *usual])))
    return next(found, None) or pytest.skip(f"no {' or '.join(usual)} on this machine")


def compiler():
    return tool("CXX", "c++", "g++", "clang++")


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def symbols(tmp_path_factory):
    """(name, nm's letter) of every symbol of the kernels, compiled for the instruction set "probe".

    Without optimisation, or inlining would hide the functions that another compiler might keep.
    """
    nm, build = tool("NM", "nm", "llvm-nm"), tmp_path_factory.mktemp("build")
    include = ["-I", ROOT / "csrc", "-I", HEADER.parent]
    flags = ["-std=c++17", "-O0", "-fno-exceptions", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-psabi"]
    found = []
    for unit in sorted((ROOT / "csrc").glob("kernels*.cpp")):
        run(compiler(), *flags, *include, "-DEVENBITS_ISA=probe", "-c", unit, "-o", build / f"{unit.stem}.o")
        found += [line.split()[:2] for line in run(nm, "-P", build / f"{unit.stem}.o").splitlines()]
    return found


def test_kernels_export_only_the_namespace_of_their_instruction_set(symbols):
    # A linker keeps one copy of any other name, perhaps the one compiled for an instruction set this machine lacks.
    exported = [name for name, letter in symbols if letter != "U" and (letter.isupper() or letter == "u")]
    assert [name for name in exported if not re.match(r"_Z(GV)?Z*NK?8evenbits5probe", name)] == []
    assert any(name.startswith("_ZN8evenbits5probe5table") for name in exported)


def test_kernels_call_only_functions_that_keep_no_state_and_round_correctly(symbols):
    allowed = {"memcpy", "memmove", "memset", "memcmp", "sqrt", "sqrtf", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    own = {name for name, letter in symbols if letter != "U"}
    assert {name for name, letter in symbols if letter == "U"} - own <= allowed


def test_kernels_run_nothing_when_the_library_is_loaded(symbols):
    assert [name for name, _ in symbols if "_GLOBAL__sub_I" in name or "static_init" in name] == []


@pytest.mark.parametrize("language", [("c", "c99"), ("c", "c11"), ("c++", "c++11"), ("c++", "c++20")], ids="-".join)
def test_the_header_compiles_without_a_warning(language):
    name, standard = language
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    run(compiler(), "-x", name, *flags, "-include", HEADER, "/dev/null")


def test_the_table_has_every_function_of_the_header():
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    text = HEADER.read_text()
    names = re.findall(r"\(\*(\w+)\)\(", text)

    class Table(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("isa", ctypes.c_char_p), ("functions", ctypes.c_void_p * len(names))]

    table = Table.from_address(address(_core._api, b"evenbits._core._api"))
    assert table.version == int(re.search(r"define EVENBITS_API_VERSION (\d+)", text)[1])
    assert table.isa.decode() in _core.available_isas()
    assert [name for name, pointer in zip(names, table.functions, strict=True) if not pointer] == []


def test_one_version_everywhere():
    written = {
        "pyproject.toml": r'(?m)^version = "(.+)"',
        "CMakeLists.txt": r"project\(evenbits VERSION (\S+)",
        "CHANGELOG.md": r"(?m)^## \[(\d.*?)\]",
        "python/evenbits/cmake/evenbitsConfigVersion.cmake": r"set\(PACKAGE_VERSION (\S+)\)",
    }
    found = {name: re.search(pattern, (ROOT / name).read_text())[1] for name, pattern in written.items()}
    assert found | {"evenbits": evenbits.__version__, "_core": _core.__version__} == dict.fromkeys(
        [*written, "evenbits", "_core"], evenbits.__version__
    )


def test_the_installation_is_complete():
    package = Path(evenbits.__file__).parent
    cmake = ("cmake/evenbitsConfig.cmake", "cmake/evenbitsConfigVersion.cmake")
    for name in ("py.typed", "_core.pyi", "include/evenbits.h", *cmake, "data/digits.safetensors"):
        assert (package / name).is_file(), name


def test_the_installation_leaves_nothing_outside_its_folder():
    try:
        files = metadata.files("evenbits")
    except metadata.PackageNotFoundError:
        pytest.skip("evenbits is on the path, not installed")
    if any("editable" in file.name for file in files):
        pytest.skip("an editable installation has files of its own")
    folders = {file.parts[0] for file in files if not file.match("bin/evenbits*")}
    assert folders == {"evenbits", f"evenbits-{evenbits.__version__}.dist-info"}
