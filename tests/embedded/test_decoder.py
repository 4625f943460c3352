"""The decoder's source by itself: warnings, size, what it links to, and any bytes at all."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from targets import CORES, WARNINGS

from evenbits import get_embedded_include

HERE = Path(__file__).parent
DECODER = Path(get_embedded_include()) / "evenbits_decode.c"
TARGETS = {target.name: target for target in CORES}
MATVEC = r"matvec_i|plain_rows|grouped_rows|matvec$|finish|shifted|dot|octets"
INTEGERS = re.compile(MATVEC + r"|eb_begin|eb_next|next_|take_digit|bits_at|hadamard_i32|base_i32|crc")
COMPILERS = [
    ("cc", "-std=c99"),
    ("c++", "-xc++", "-std=c++17"),
    ("clang", "-std=c99"),
    ("riscv64-linux-gnu-gcc", "-std=c99"),
    *[(target.compiler, "-std=c99", "-mthumb", *target.options) for target in CORES],
    ("arm-none-eabi-gcc", "-xc++", "-std=c++17", "-mcpu=cortex-m4", "-mthumb"),
]


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"not on this machine: {tool}")


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda c: "-".join(c).replace("--", "-")[:60])
@pytest.mark.parametrize("options", [("-Os",), ("-O2", "-DEVENBITS_FLOAT=0")], ids=["Os", "O2"])
def test_compiles_without_a_warning(compiler, options, tmp_path):
    need(compiler[0])
    run(*compiler, *WARNINGS, *options, "-ffp-contract=off", "-c", DECODER, "-o", tmp_path / "decoder.o")


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
def test_decoder_matvec_hadamard_and_crc_take_at_most_2_kb(core, tmp_path):
    target = TARGETS[core]
    need(target.compiler)
    built = tmp_path / "decoder.o"
    run(target.compiler, "-std=c99", "-mthumb", "-Os", "-ffunction-sections", *target.options, "-c", DECODER, "-o", built)
    listed = [line.split() for line in run("arm-none-eabi-nm", "-S", "-t", "d", built).splitlines()]
    sizes = {parts[3]: int(parts[1]) for parts in listed if len(parts) == 4 and parts[2] in "tT" and "window" not in parts[3]}
    assert sum(size for name, size in sizes.items() if INTEGERS.search(name)) <= 2048


def test_integers_need_no_floats_and_no_library_but_the_compilers_own(tmp_path):
    need("arm-none-eabi-gcc")
    built = tmp_path / "decoder.o"
    options = ("-std=c99", "-mthumb", "-mcpu=cortex-m0", "-Os", "-DEVENBITS_FLOAT=0")
    run("arm-none-eabi-gcc", *options, "-c", DECODER, "-o", built)
    outside = {line.split()[-1] for line in run("arm-none-eabi-nm", "-u", built).splitlines()}
    assert outside <= {f"__aeabi_{name}" for name in ("uidiv", "uidivmod", "lmul", "llsl", "llsr")} | {"__gnu_thumb1_case_uqi"}


@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_any_bytes_are_decoded_within_their_buffers(compiler, tmp_path):
    need(compiler)
    program = tmp_path / "fuzz"
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    try:
        options = ("-g", "-O1", *sanitizers, "-DSTANDALONE=20000", f"-I{DECODER.parent}")
        run(compiler, *options, HERE / "fuzz.c", DECODER, "-o", program)
    except AssertionError as error:
        if "asan" in str(error) or "ubsan" in str(error):
            pytest.skip("this compiler has no sanitizers")
        raise
    assert run(program) == "done\n"
