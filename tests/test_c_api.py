"""The C interface as its users meet it: a static library without Python, the capsule, and a table that only grows.

What is compiled is compiled with CC and CXX, or the compilers of this machine; where there are none the test is skipped.
"""

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path

import numpy as np
import pytest
from test_build import HEADER, ROOT, tool
from test_build import compiler as any_compiler

import evenbits
from evenbits import _build, _core
from evenbits.reference.embedding import democratic, kashin
from evenbits.reference.products import product
from evenbits.reference.reductions import dot

FIRST = ROOT / "tests/golden/v1-evenbits.h"
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
C, CPP = pytest.param("CC", "c", "c99", id="c99"), pytest.param("CXX", "c++", "c++17", id="c++17")


def run(*command, code=0, **environment):
    # A sanitizer's library that is loaded before Python has no business in a compiler.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "EVENBITS_ISA")}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=inherited | environment)
    assert done.returncode == code, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def compiler(variable):
    found = tool(variable, *{"CC": ("cc", "gcc", "clang"), "CXX": ("c++", "g++", "clang++")}[variable])
    target, machines = run(found, "-dumpmachine").split("-")[0], {platform.machine(), run("uname", "-m").strip()}
    if {target.replace("arm64", "aarch64")} != {machine.replace("arm64", "aarch64") for machine in machines}:
        pytest.skip(f"{found} is for {target}, Python and this machine are {' on '.join(machines)}")
    return found


@pytest.fixture(scope="module")
def cmake():
    if shutil.which("cmake"):
        return ["cmake"]
    if importlib.util.find_spec("cmake"):
        return [sys.executable, "-m", "cmake"]
    return pytest.skip("no CMake on this machine: pip install cmake ninja")


@pytest.fixture(scope="module")
def generator():
    found = next((name for program, name in [("ninja", "Ninja"), ("make", "Unix Makefiles")] if shutil.which(program)), None)
    return found or pytest.skip("neither ninja nor make on this machine: pip install ninja")


@pytest.fixture(scope="module")
def installed(tmp_path_factory, cmake, generator):
    """Where the static library has been installed."""
    build, prefix = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("prefix")
    settings = ["-DEVENBITS_PYTHON=OFF", "-DCMAKE_INSTALL_LIBDIR=lib", f"-DCMAKE_CXX_COMPILER={compiler('CXX')}"]
    run(*cmake, "-S", ROOT, "-B", build, "-G", generator, *settings, "-DCMAKE_DISABLE_FIND_PACKAGE_pybind11=ON")
    run(*cmake, "--build", build, "-j", "2")
    run(*cmake, "--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def from_cmake(tmp_path_factory, cmake, generator, installed):
    """The consumer in C99, built as its own project by a CMake that knows no C++."""
    build = tmp_path_factory.mktemp("consumer")
    settings = [f"-DCMAKE_C_COMPILER={compiler('CC')}", f"-DCMAKE_PREFIX_PATH={installed}"]
    run(*cmake, "-S", ROOT / "tests/c", "-B", build, "-G", generator, *settings)
    run(*cmake, "--build", build)
    return build / "consumer"


@pytest.fixture(scope="module")
def from_cpp(tmp_path_factory, installed):
    """The same source as C++17, built without CMake."""
    program = tmp_path_factory.mktemp("consumer") / "consumer"
    source = ["-x", "c++", "-std=c++17", *STRICT, ROOT / "tests/c/consumer.c", "-x", "none"]
    run(compiler("CXX"), *source, "-I", installed / "include", installed / "lib/libevenbits.a", "-o", program)
    return program


@pytest.fixture(params=["from_cmake", "from_cpp"])
def consumer(request):
    return request.getfixturevalue(request.param)


def results():
    """What tests/c/consumer.c computes, computed in Python: operation -> array."""
    words = evenbits.random_bits(7, 3, 768, bits=32, first=5)
    x = ((words >> 8).astype(np.float32) / np.float32(2**24)).reshape(3, 256)
    y = evenbits.hadamard_transform(x, scale=0.0625)
    parameters = {
        "scale": np.array([[3.5, 7, 14], [1, 2, 3], [4, 5, 6]], np.float32),
        "zero": np.array([[3.5, 0, -7], [1, 2, 3], [0, 1, 2]], np.float32),
        "top": 7,
        "group": 100,
    }
    codes = evenbits.round_stochastic(x, **parameters, seed=8, first=1)
    signs = np.where(np.arange(256) % 3, 1, -1).astype(np.float32)
    levels = np.array([-4, -3, -2, -1, 0, 1, 2, 4], np.float32)
    of_halves = {name: parameters[name].ravel()[:6].reshape(3, 2) for name in ("scale", "zero")}
    return {
        "words": words,
        "hadamard": y,
        "nearest": evenbits.round_nearest(x, **parameters),
        "stochastic": codes,
        "bfloat16": evenbits.round_to_bfloat16(x, seed=8, first=1, as_bits=True),
        "dot": np.array([[dot(a[i : i + 100], b[i : i + 100]) for i in (0, 100, 200)] for a, b in zip(x, y, strict=True)]),
        "kashin": kashin(x, np.ones((1, 1), np.int8), signs, 4, 0.75, 0.5, True),
        "democratic": democratic(x, np.ones((1, 1), np.int8), signs, 4),
        "packed": evenbits.pack(codes, 3),
        "product": product(x[:2], levels[codes], of_halves["scale"], 128, of_halves["zero"]),
    }


def test_a_program_computes_the_bytes_that_python_does(consumer):
    expected = {f"{operation}, {zlib.crc32(array.tobytes()):08x}" for operation, array in results().items()}
    found = {}
    for line in run(consumer).splitlines()[1:]:
        isa, result = line.split(": ")
        found.setdefault(isa, set()).add(result)
    assert found.keys() >= set(_core.available_isas())
    assert found == dict.fromkeys(found, expected)


def test_a_program_runs_the_best_kernels_or_those_that_the_environment_names(consumer):
    best, *lines = run(consumer).splitlines()
    available = {line.split(":")[0] for line in lines}
    assert best == next(isa for isa in ("avx512vbmi", "avx512", "avx2", "sse2", "neon") if isa in available)
    for isa in available:
        assert run(consumer, EVENBITS_ISA=isa).splitlines()[0] == isa
    assert run(consumer, EVENBITS_ISA="mmx").splitlines()[0] == "none"


def test_the_library_needs_the_c_library_alone(installed):
    symbols = map(str.split, run(tool("NM", "nm", "llvm-nm"), "-P", installed / "lib/libevenbits.a").splitlines())
    undefined = {name for name, *letter in symbols if letter[:1] == ["U"]}
    processor = {"__cpu_model", "__cpu_features2", "__cpu_indicator_init", "_GLOBAL_OFFSET_TABLE_"}
    libc = {"memcpy", "memmove", "memset", "memcmp", "strcmp", "getenv"}
    assert {name for name in undefined if not name.startswith("_ZN8evenbits")} <= processor | libc


def test_a_shared_library_can_contain_the_library_and_shows_none_of_it(tmp_path, installed):
    source, library = tmp_path / "one.c", tmp_path / "libone.so"
    source.write_text('#include <evenbits.h>\nconst char* one(void) { return evenbits_get_api()->isa; }\n')
    flags = ["-shared", "-fPIC", "-Wl,-z,defs", "-Wl,-z,text", "-I", installed / "include"]
    run(compiler("CC"), *flags, source, installed / "lib/libevenbits.a", "-o", library)
    names = {line.split()[0] for line in run(tool("NM", "nm", "llvm-nm"), "-D", "-P", "--defined-only", library).splitlines()}
    assert "one" in names
    assert {name for name in names if "evenbits" in name} == set()
    one = ctypes.CDLL(str(library)).one
    one.restype = ctypes.c_char_p
    assert one().decode() in {"avx512vbmi", "avx512", "avx2", "sse2", "neon"}


@pytest.mark.parametrize("place", ["evenbits_ROOT=cmake", "evenbits_DIR=cmake", "evenbits_ROOT="])  # cmake.root names the last
@pytest.mark.parametrize("version, found", [("", True), ("0.1", True), ("0.1.0", True), ("0.2", False), ("1.0", False)])
def test_cmake_finds_the_header_of_the_installed_package(tmp_path, cmake, generator, place, version, found):
    variable, folder = place.split("=")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20...4.0)\n"
        "project(consumer LANGUAGES NONE)\n"
        f"find_package(evenbits {version} CONFIG REQUIRED)\n"
        "get_target_property(include evenbits::headers INTERFACE_INCLUDE_DIRECTORIES)\n"
        'message(STATUS "version ${evenbits_VERSION}, include ${include}")\n'
    )
    where = Path(_build.get_cmake_dir()).parent / folder
    output = run(*cmake, "-S", tmp_path, "-B", tmp_path, "-G", generator, f"-D{variable}={where}", code=0 if found else 1)
    said = f"version {evenbits.__version__}, include {evenbits.get_include()}"
    assert said in output if found else "compatible with requested version" in " ".join(output.split())


@pytest.mark.parametrize("variable, language, standard", [C, CPP])
def test_an_extension_takes_the_kernels_from_the_package(tmp_path, monkeypatch, rng, variable, language, standard):
    python = sysconfig.get_path("include")
    if not (Path(python) / "Python.h").is_file():
        pytest.skip(f"no Python.h in {python}")
    library = tmp_path / f"extension{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ["-x", language, f"-std={standard}", *STRICT, "-O1", "-shared", "-fPIC", "-isystem", python, "-I", HEADER.parent]
    run(compiler(variable), *flags, ROOT / "tests/c/extension.c", "-o", library)
    spec = importlib.util.spec_from_file_location("extension", library)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)

    x = rng.standard_normal(1024).astype(np.float32)
    expected = evenbits.hadamard_transform(x)
    assert extension.hadamard(x) in _core.available_isas()
    np.testing.assert_array_equal(x, expected)

    old = (ctypes.c_uint32 * 4)(0)  # a table of version 0
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    monkeypatch.setattr(_core, "_api", capsule(ctypes.addressof(old), b"evenbits._core._api", None))
    with pytest.raises(ImportError, match="has version 0 of its C interface, and 1 is needed: upgrade it"):
        extension.hadamard(x)
    monkeypatch.setattr(_core, "_api", None)
    with pytest.raises(AttributeError, match=r"evenbits\._core\._api"):
        extension.hadamard(x)


def structs(header):
    """name -> its declarations, in order, of every struct."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    found = re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.DOTALL)
    return {name: [" ".join(line.split()) for line in body.split(";") if line.strip()] for name, body in found}


def members(declarations):
    return [name for line in declarations for name in re.findall(r"\(\*(\w+)\)" if "(*" in line else r"(\w+)(?:,|$)", line)]


def test_structs_keep_their_members_and_the_table_only_grows():
    first, now = structs(FIRST), structs(HEADER)
    table = first.pop("evenbits_api")
    assert now["evenbits_api"][: len(table)] == table
    assert {name: now[name] for name in first} == first


def test_members_stay_where_they_are(tmp_path):
    source = tmp_path / "layout.cpp"
    places = [(name, member) for name, declarations in structs(FIRST).items() for member in members(declarations)]
    assert ("evenbits_stream", "first") in places and ("evenbits_api", "kashin_f32") in places
    sizes = [name for name in structs(FIRST) if name != "evenbits_api"]
    source.write_text(
        f'#include "{HEADER}"\nnamespace first {{\n#include "{FIRST}"\n}}\n'
        + "".join(f"static_assert(offsetof({s}, {m}) == offsetof(first::{s}, {m}));\n" for s, m in places)
        + "".join(f"static_assert(sizeof({s}) == sizeof(first::{s}));\n" for s in sizes)
    )
    run(any_compiler(), "-std=c++17", *STRICT, "-fsyntax-only", source)
