#!/usr/bin/env bash
# Run an installed evenbits on emulated x86-64 processors without AVX2 and without AVX-512: the kernels must be the ones
# that the processor can run, and an instruction too new for it ends the run. Of the tests, those with the isa fixture
# are run, with the best instruction set that is left.
#   PYTHON=.venv/bin/python tools/test_on_old_cpu.sh [pytest arguments; "tests" if there are none]
# needs qemu-user-static (Debian, Ubuntu).
set -euo pipefail

cd "$(dirname "$0")/.."
qemu=$(command -v qemu-x86_64-static || command -v qemu-x86_64 || true)
[ -n "$qemu" ] || { echo "$0: qemu-x86_64-static is missing: apt-get install qemu-user-static" >&2; exit 2; }
python=${PYTHON:-.venv/bin/python}
[ $# -gt 0 ] || set -- tests
unset OPENBLAS_CORETYPE  # would make NumPy run code for another processor than the emulated one
export OPENBLAS_NUM_THREADS=1

run_on() {  # processor, instruction sets that must be found there, pytest arguments
  local cpu=$1 expected=$2
  shift 2
  echo "== $cpu: expecting $expected"
  "$qemu" -cpu "$cpu" "$python" -c "
from evenbits import _core
found = _core.available_isas()
assert found == '$expected'.split(), found" &&
  "$qemu" -cpu "$cpu" "$python" -m pytest -q -p no:cacheprovider -k "${expected%% *}" "$@"
}
# Both at a time: an emulated processor is one thread.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run_on Nehalem "sse2" "$@" >"$log" 2>&1 &
first=$! status=0
run_on Haswell "avx2 sse2" "$@" 2> >(grep -v "TCG doesn't support requested feature" >&2) || status=$?
wait "$first" || status=$?
cat "$log"
exit "$status"
