#!/usr/bin/env bash
# Build evenbits with the address and undefined-behaviour sanitizers and run its tests: any finding ends the run.
#   PYTHON=.venv/bin/python tools/test_with_sanitizers.sh [pytest arguments; "tests" if there are none]
# needs GCC, and in $PYTHON what the tests need, pybind11, cmake and ninja. Builds in build/sanitize; $EVENBITS_ISAS says for
# which instruction sets, all of them if it is not set.
set -euo pipefail

cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
export PATH=${python%/*}:$PATH
build=$PWD/build/sanitize
[ $# -gt 0 ] || set -- tests

cmake -S . -B "$build" -GNinja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-g1 -DEVENBITS_SANITIZE=ON -DCMAKE_CXX_COMPILER="${CXX:-g++}" \
  ${EVENBITS_ISAS:+"-DEVENBITS_ISAS=$EVENBITS_ISAS"} -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" --log-level=WARNING
cmake --build "$build"
rm -rf "$build/site"
mkdir "$build/site"
cp -r python/evenbits "$build/site"
cmake --install "$build" --prefix "$build/site" >/dev/null

# Python itself is not instrumented: the run-time library comes in before it, with the C++ library whose exceptions it
# watches. CPython keeps objects until the process ends, which is no leak of ours.
library() { "${CXX:-g++}" -print-file-name="$1"; }
LD_PRELOAD="$(library libasan.so) $(library libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$build/site \
  exec "$python" -m pytest -p no:cacheprovider "$@"
