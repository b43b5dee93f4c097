#!/usr/bin/env bash
# Install kgenre and its test tools into a virtual environment (VENV, default .venv), then lint, and run the tests: those
# that need no backend once, where none can be imported, then the others under TensorFlow and under JAX (`one_backend`
# tests under one of them). Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
python=${PYTHON:-python3}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# Not compiled: only a part of what the packages have is ever imported, and is compiled then.
"$venv/bin/python" -m pip install --quiet --no-compile --editable '.[test]'
export PATH="$(cd "$venv/bin" && pwd):$PATH"

ruff check .
ruff format --check .
lint-imports
unset PYTHONDONTWRITEBYTECODE # tests start Python a hundred times: each would compile kgenre anew
for backend in none tensorflow jax; do
  echo "== KERAS_BACKEND=$backend"
  KERAS_BACKEND=$backend python -m pytest -n auto --maxprocesses 4 --dist worksteal --once "$@" ||
    [ $? -eq 5 -a $# -gt 0 ] # none of the tests that were asked for belongs here
done
