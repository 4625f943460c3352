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
MATVEC = r"matvec_i|plain_row|digit_row|finished|shifted|offset|whole_sum|rest_sum|octets"
INTEGERS = re.compile(MATVEC + r"|eb_begin|eb_next|next_|take_digit|load_block|(hadamard|butterflies|base)_i32|crc")
FLOATS = re.compile(r"_f32|scale|exp_of|float_of")
TRELLISES = re.compile(r"trellis|some_bits")
ROTATIONS = re.compile(r"philox|embed_i8|spread_i8|turn_i32|gather_i8|window_i8")
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
def test_decoder_matvec_hadamard_and_crc_take_at_most_2_kb_and_trellises_a_little_more_than_1(core, tmp_path):
    target = TARGETS[core]
    need(target.compiler)
    built = tmp_path / "decoder.o"
    run(target.compiler, "-std=c99", "-mthumb", "-Os", "-ffunction-sections", *target.options, "-c", DECODER, "-o", built)
    listed = [line.split() for line in run("arm-none-eabi-nm", "-S", "-t", "d", built).splitlines()]
    sizes = {parts[3]: int(parts[1]) for parts in listed if len(parts) == 4 and parts[2] in "tT" and "window" not in parts[3]}
    assert not [name for name in sizes if not any(kind.search(name) for kind in (INTEGERS, FLOATS, ROTATIONS, TRELLISES))]
    trellis = {name for name in sizes if TRELLISES.search(name)}
    assert sum(size for name, size in sizes.items() if INTEGERS.search(name) and name not in trellis) <= 2048
    assert sum(sizes[name] for name in trellis if not re.search("i16|f32|next", name)) <= 1280


def stack_of(program):
    """Bytes of stack that a call of each function may take, by its instructions: what it pushes, and the deepest it calls."""
    frames, calls = {}, {}
    for line in run("arm-none-eabi-objdump", "-d", "--no-show-raw-insn", program).splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:", line):
            name = head[1]
            frames[name], calls[name] = 0, set()
        elif parts := re.match(r"\s+[0-9a-f]+:\s+(\S+)\s*(.*)", line):
            op, text = parts[1].split(".")[0], parts[2]
            if op == "push" or (op == "stmdb" and text.startswith("sp!")) or op == "vpush":
                registers = [re.findall(r"\d+|lr|pc", part) for part in re.search(r"{(.*)}", text)[1].split(",")]
                count = sum(int(r[1]) - int(r[0]) + 1 if len(r) == 2 else 1 for r in registers)
                frames[name] += count * (8 if op == "vpush" and "d" in text else 4)
            elif size := re.match(r"subw? sp,(?: sp,)? #(\d+)", f"{op} {text}") or re.search(r"\[sp, #-(\d+)\]!", text):
                frames[name] += int(size[1])
            elif op == "blx" or (op == "bx" and text != "lr" and name.startswith("eb_")):
                raise AssertionError(f"{name} calls what is not known: {line}")
            elif op in ("b", "bl") and (to := re.search(r"<([^+>]+)>", text)) and to[1] != name:
                calls[name].add((to[1], op == "bl"))

    def deepest(name):
        own = frames[name]
        return max([own, *[deepest(to) + own * kept for to, kept in calls[name]]])

    return {name: deepest(name) for name in frames if name.startswith("eb_")}


@pytest.mark.parametrize("core, options", [("cortex-m0", ["-Os"]), ("cortex-m4", ["-Os"]), ("cortex-m4", ["-O2"])])
def test_integers_take_at_most_128_bytes_of_stack_and_trellises_168(core, options, tmp_path):
    target = TARGETS[core]
    need(target.compiler)
    program = tmp_path / "decoder.elf"
    linked = (*options, "-DEVENBITS_FLOAT=0", "-nostdlib", "-Wl,-e,eb_next", "-Wl,--no-warn-rwx-segments")
    cpu = [option for option in target.options if not option.startswith("--specs")]
    run(target.compiler, "-std=c99", "-mthumb", *cpu, *linked, DECODER, "-lgcc", "-o", program)
    stack = stack_of(program)
    assert {"eb_matvec_i8", "eb_matvec_i32", "eb_embed_i8", "eb_hadamard_i32", "eb_crc32", "eb_next"} <= stack.keys()
    # A row of digits in mixed radix needs its cursor too.
    digits = {"eb_matvec_i8", "eb_matvec_i32"} if (core, *options) != ("cortex-m4", "-Os") else set()
    trellises = {name for name in stack if TRELLISES.search(name)}
    assert len(trellises) == 6
    assert max(size for name, size in stack.items() if name not in digits | trellises) <= 128
    assert max(size for name, size in stack.items() if name not in trellises) <= 136
    assert max(stack[name] for name in trellises) <= 168


def outside_of(built, *options):
    need("arm-none-eabi-gcc")
    run("arm-none-eabi-gcc", "-std=c99", "-mthumb", *options, "-c", DECODER, "-o", built)
    return {line.split()[-1] for line in run("arm-none-eabi-nm", "-u", built).splitlines()}


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
@pytest.mark.parametrize("option", ["-Os", "-O2"])
def test_floats_need_no_c_library(core, option, tmp_path):
    assert all(name.startswith("__") for name in outside_of(tmp_path / "decoder.o", f"-mcpu={core}", option))


def test_integers_need_no_floats_and_no_library_but_the_compilers_own(tmp_path):
    outside = outside_of(tmp_path / "decoder.o", "-mcpu=cortex-m0", "-Os", "-DEVENBITS_FLOAT=0")
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
