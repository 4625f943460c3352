#!/usr/bin/env bash
# The decoder for microcontrollers on emulated ones (Cortex-M0, M3, M4, M7, M33, M55) and on other processors, one of them
# big-endian (RISC-V with 32 bits, and no library at all, among them); the decoder with warnings as errors, in C99 and C++17; its size; and a fuzzer for some seconds.
#   tools/test_embedded.sh [pytest arguments]
# needs, on Debian or Ubuntu: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm qemu-user-static
#   gcc-riscv64-unknown-elf gcc-riscv64-linux-gnu libc6-dev-riscv64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-aarch64-linux-gnu
#   libc6-dev-arm64-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross clang libclang-rt-dev
# What is missing is skipped, and said. $PYTHON is an environment with evenbits and pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in arm-none-eabi-gcc riscv64-unknown-elf-gcc qemu-system-arm qemu-s390x-static {riscv64,aarch64,s390x}-linux-gnu-gcc arm-linux-gnueabihf-gcc clang; do
  command -v "$tool" >/dev/null || printf 'missing, and skipped: %s\n' "$tool"
done
export EVENBITS_EMBEDDED=1
exec "${PYTHON:-python3}" -m pytest -q -rs -p no:cacheprovider tests/embedded "$@"
