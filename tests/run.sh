#!/bin/sh
# Check style and types and run the tests: `sh tests/run.sh`; with `--slow` also the long ones.
# Other arguments go to pytest: `sh tests/run.sh tests/models -k daformer`.
set -e
cd "$(dirname "$0")/.."
. tools/environment.sh

selection="not slow"
if [ "${1:-}" = "--slow" ]; then
    selection="slow or not slow"
    shift
fi

# One thread in each of two processes is faster than two threads in one.
export OMP_NUM_THREADS=1
echo "== Style"
python -m ruff check .
python -m ruff format --check .
echo "== Types"
python -m basedpyright --level error
echo "== Tests"
python -m pytest -n 2 --dist loadfile -m "$selection" "$@"
