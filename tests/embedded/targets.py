"""Processors that tools can build for and emulate here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from evenbits import get_embedded_include

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
FLAGS = (*WARNINGS, "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
SEMIHOSTING = ("-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native")
EMULATOR = Path(get_embedded_include()) / "emulator"
SECURE = {"flash": "0x10000000", "ram": "0x38000000"}
SMALL = {"flash_size": "256K", "ram_size": "16K"}
INNER = {"flash": "0x10000000", "flash_size": "512K", "ram": "0x30000000", "ram_size": "512K"}


@dataclass(frozen=True)
class Target:
    """A compiler with its options, and an emulator; a board if there is no system below the program."""

    name: str
    compiler: str
    options: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    board: str | None = None
    memory: tuple[tuple[str, str], ...] = ()

    def missing(self) -> list[str]:
        """The tools that are not on this machine."""
        return [tool for tool in (self.compiler, *self.emulator[:1]) if shutil.which(tool) is None]

    def build(self, sources: list[Path], program: Path, *options: str) -> Path:
        command = [self.compiler, "-std=c99", *FLAGS, *self.options, f"-I{sources[0].parent}", *options, *map(str, sources)]
        if self.board:
            places = ",".join(f"--defsym={key}={value}" for key, value in self.memory)
            command += [str(EMULATOR / "startup.c"), "-T", str(EMULATOR / "cortex_m.ld"), "--specs=rdimon.specs", "-mthumb"]
            command += ["-Wl,--gc-sections,--no-warn-rwx-segments", *([f"-Wl,{places}"] if places else [])]
        libraries = ("-nostdlib", "-lgcc") if self.name == "riscv32" else ("-lm",)
        done = subprocess.run([*command, *libraries, "-o", str(program)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return program

    def run(self, program: Path, *options: str, timeout: float = 300) -> str:
        """What it prints; AssertionError unless its exit code is 0 (99: a fault of the processor)."""
        board = ("-M", self.board, *SEMIHOSTING, "-kernel") if self.board else ()
        done = subprocess.run(
            [*self.emulator, *options, *board, str(program)],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


def _cortex(name: str, board: str, *options: str, **memory: str) -> Target:
    cpu = (f"-mcpu=cortex-{name}", *options)
    return Target(f"cortex-{name}", "arm-none-eabi-gcc", cpu, ("qemu-system-arm",), board, tuple(memory.items()))


def _linux(name: str, compiler: str, *options: str) -> Target:
    return Target(name, compiler, ("-static", *options), (f"qemu-{'arm' if name == 'armhf' else name}-static",))


CORES = [
    _cortex("m0", "microbit", "--specs=nano.specs", **SMALL),
    _cortex("m3", "mps2-an385"),
    _cortex("m4", "mps2-an386", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    _cortex("m7", "mps2-an500", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    _cortex("m33", "mps2-an505", "-mfloat-abi=soft", **SECURE),
    _cortex("m55", "mps3-an547", "-mfloat-abi=hard", "-mfpu=auto", **INNER),
]
BARE = ("-march=rv32imac", "-mabi=ilp32", "-static", "-ffreestanding", f"-isystem{Path(__file__).parent / 'bare'}")
SYSTEMS = [
    Target("riscv32", "riscv64-unknown-elf-gcc", BARE, ("qemu-riscv32-static",)),
    _linux("riscv64", "riscv64-linux-gnu-gcc"),
    _linux("armhf", "arm-linux-gnueabihf-gcc"),
    _linux("aarch64", "aarch64-linux-gnu-gcc"),
    _linux("s390x", "s390x-linux-gnu-gcc"),
]
HOST = Target("host", "cc")
