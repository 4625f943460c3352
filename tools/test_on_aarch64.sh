#!/usr/bin/env bash
# Cross-compile evenbits for 64-bit ARM and run its tests on an emulated processor: no ARM machine, chroot or binfmt.
#   tools/test_on_aarch64.sh [pytest arguments; "tests" if there are none]
# needs, on Debian or Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user-static mmdebstrap arch-test
# What is downloaded (an ARM Python, some wheels) and built stays in $EVENBITS_CACHE for the next time.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
cache=${EVENBITS_CACHE:-${TMPDIR:-/tmp}/evenbits-cache}/aarch64
root=$cache/root host=$cache/host site=$cache/site build=$cache/build python=$cache/python3

qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
for tool in "${qemu:-qemu-aarch64-static}" aarch64-linux-gnu-g++ mmdebstrap python3; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is missing; the head of this script names the packages" >&2; exit 2; }
done
mkdir -p "$cache"

# The root is of the release of this machine, as the cross compiler's libraries are.
if [ ! -e "$root.complete" ]; then
  rm -rf "$root"
  mmdebstrap --quiet --arch=arm64 --variant=extract --include=python3,libpython3-dev,libstdc++6,tzdata \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root"
  touch "$root.complete"
fi
include=$(echo "$root"/usr/include/python3.*)
version=${include##*/python}

# -0 makes the wrapper sys.executable, so that tests which start another Python start it emulated.
cat >"$python" <<END
#!/bin/sh
exec "$qemu" -L "$root" -0 "$python" -E PYTHONHOME="$root/usr" -E PYTHONPATH="$site" -E OPENBLAS_NUM_THREADS=1 -U OPENBLAS_CORETYPE \\
  "$root/usr/bin/python$version" "\$@"
END
chmod +x "$python"

if [ ! -e "$host.complete" ]; then
  python3 -m venv --clear "$host"
  "$host/bin/pip" install -q cmake ninja "pybind11>=3.0"
  rm -rf "$site"
  "$host/bin/pip" install -q --target "$site" --python-version "$version" --only-binary=:all: --no-compile \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 numpy pytest pytest-xdist hypothesis ml_dtypes safetensors matplotlib
  touch "$host.complete"
fi

PATH=$host/bin:$PATH cmake --fresh -S "$source" -B "$build" -GNinja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS="-idirafter $root/usr/include" \
  -Dpybind11_DIR="$("$host/bin/python" -m pybind11 --cmakedir)" -DPython_INCLUDE_DIR="$include" -DPYTHON_MODULE_EXTENSION=.so \
  -DPYTHON_IS_DEBUG=OFF -DPYTHON_MODULE_DEBUG_POSTFIX= --log-level=WARNING
PATH=$host/bin:$PATH cmake --build "$build"
rm -rf "$site/evenbits"
cp -r "$source/python/evenbits" "$site"
PATH=$host/bin:$PATH cmake --install "$build" --prefix "$site" >/dev/null

cd "$source"
[ $# -gt 0 ] || set -- tests
"$python" -c 'import platform; from evenbits import _core; print(platform.machine(), _core.available_isas())'
CXX=aarch64-linux-gnu-g++ NM=aarch64-linux-gnu-nm exec "$python" -m pytest -p no:cacheprovider "$@"
