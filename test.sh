#!/bin/sh
# Evaluate a run's best checkpoint (else its latest) and paint its predictions into RUN_DIR/preds.
# Usage: sh test.sh RUN_DIR [further options of tools/test.py]
# PYTHON names another interpreter than python (or .venv/bin/python, where that exists).
set -eu

fail() {
    echo "test.sh: $1" >&2
    exit 1
}

[ $# -ge 1 ] || fail "expected the folder of a run; use: sh test.sh work_dirs/local-<exp>/<run>"
run=${1%/}
shift
[ -d "$run" ] || fail "no such folder: $run"

# Exactly one resolved config lies in the folder of a run; published runs have it as JSON.
config=
for file in "$run"/*.py "$run"/*.json; do
    case $file in *.log.json | */results.json | */results_*.json | */repro.json) continue ;; esac
    [ -f "$file" ] || continue
    [ -z "$config" ] || fail "several configs in $run: $config and $file; keep the run's own one"
    config=$file
done
[ -n "$config" ] || fail "no config (*.py) in $run; is it the folder of a run?"

checkpoint=
for file in "$run"/best*.pth; do
    [ -f "$file" ] || continue
    [ -z "$checkpoint" ] || fail "several best checkpoints in $run: $checkpoint and $file"
    checkpoint=$file
done
if [ -z "$checkpoint" ]; then
    checkpoint=$run/latest.pth
    [ -f "$checkpoint" ] || fail "no best*.pth or latest.pth in $run; has the run saved one yet?"
fi

here=$(dirname "$0")
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$here/.venv/bin/python" ]; then
        PYTHON=$here/.venv/bin/python
    elif ! command -v python >/dev/null 2>&1; then
        PYTHON=python3
    fi
fi

# What one scale of HRDA predicts, or its attention, does not replace the predictions.
preds=$run/preds
measure="--eval mIoU"
before=
for option in "$@"; do
    case $before$option in
    --hrda-outLR | --hrda-out=LR) preds=$run/preds_lr ;;
    --hrda-outHR | --hrda-out=HR) preds=$run/preds_hr ;;
    --hrda-outATT | --hrda-out=ATT) preds=$run/attention measure= ;; # nothing to evaluate
    esac
    before=$option
done

echo "Config:      $config"
echo "Checkpoint:  $checkpoint"
echo "Predictions: $preds"
# shellcheck disable=SC2086  # two words or none
exec "$PYTHON" "$here/tools/test.py" "$config" "$checkpoint" \
    $measure --show-dir "$preds" --opacity 1 "$@"
