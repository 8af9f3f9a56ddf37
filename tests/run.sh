#!/bin/sh
# Check style and types and run the tests: `sh tests/run.sh`. Before other arguments, which go to
# pytest (`sh tests/run.sh tests/models -k daformer`), one option chooses more:
#   --slow      also the long tests, then --portable
#   --portable  the numeric tests with the instruction sets and threads of other machines
#   --versions  tests with the oldest and with the newest releases of all dependencies
set -e
cd "$(dirname "$0")/.."

option=
case "${1:-}" in
--slow | --portable | --versions)
    option=$1
    shift
    ;;
esac
[ "$option" != --versions ] || exec sh tests/versions.sh "$@"
. tools/environment.sh
[ "$option" != --portable ] || exec sh tests/portable.sh "$@"

selection="not slow"
[ "$option" != --slow ] || selection="slow or not slow"
if [ ! -w . ]; then # caches of a checkout that nobody may write to
    caches=$(mktemp -d)
    trap 'rm -rf "$caches"' EXIT
    export RUFF_CACHE_DIR="$caches/ruff"
    set -- -o cache_dir="$caches/pytest" "$@"
fi

# One thread in each of two processes is faster than two threads in one.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
echo "== Style"
python -m ruff check .
python -m ruff format --check .
echo "== Types"
python -m basedpyright --level error
echo "== Tests"
status=0
python -m pytest -n 2 --dist loadfile -m "$selection" "$@" || status=$?
if [ "$option" = --slow ]; then
    sh tests/portable.sh || status=$?
fi
python tests/helpers/machine.py
exit "$status"
