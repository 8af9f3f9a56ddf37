#!/bin/sh
# Run tests with the oldest and with the newest releases that requirements.txt allows:
# `sh tests/run.sh --versions`. The environments stay in .venv-oldest and .venv-newest. OLDEST_PYTHON
# and NEWEST_PYTHON name interpreters that are not on PATH.
set -e
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/models tests/datasets tests/engine tests/evaluation
. tools/virtual_environment.sh

# requirements.txt with every floor as the only release
pinned() {
    sed -n 's/ *#.*//; s/>=\([^,]*\).*/==\1/p' requirements.txt
}

failed=
for releases in oldest newest; do
    folder=.venv-$releases
    # Old releases have no packages for new Pythons, and the other way round.
    case $releases in
    oldest) make_environment $folder ${OLDEST_PYTHON:-python3.10 python3.11 python3.12} ;;
    newest) make_environment $folder ${NEWEST_PYTHON:-python3.14 python3.13 python3 python} ;;
    esac
    export VIRTUAL_ENV="$PWD/$folder"
    python=$(programs_of $folder)/python
    echo "== The $releases releases: $("$python" --version) in $folder"
    case $releases in
    oldest) pinned >$folder/requirements.txt && update="-r $folder/requirements.txt" ;;
    newest) update="-r requirements.txt --upgrade --upgrade-strategy eager" ;;
    esac
    # shellcheck disable=SC2086  # several words
    "$python" -m pip install --quiet --disable-pip-version-check $update
    OMP_NUM_THREADS=1 "$python" -m pytest -q -n 2 --dist loadfile -m "not slow" "$@" ||
        failed="$failed $releases"
    "$python" tests/helpers/machine.py
done
[ -z "$failed" ] || {
    echo "expected the tests to pass with the oldest and the newest releases, got failures:$failed" >&2
    exit 1
}
