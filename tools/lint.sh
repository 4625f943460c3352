#!/usr/bin/env bash
# Style and types. Installs the tools into the environment of $PYTHON, where evenbits[test] must be installed.
#   PYTHON=.venv/bin/python tools/lint.sh
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
"$python" -m pip install -q "ruff>=0.17,<1" "mypy>=2.4,<3" "clang-format>=23,<24"

"$python" -m ruff check .
git ls-files -co --exclude-standard -- '*.cpp' '*.hpp' '*.h' '*.c' | xargs "${python%/*}/clang-format" --dry-run -Werror
"$python" -m mypy
"$python" -m mypy.stubtest evenbits._core
