#!/bin/sh
# Run the numeric tests with the instruction sets and numbers of threads of other machines:
# `sh tests/run.sh --portable`; other tests instead: `sh tests/run.sh --portable tests`.
# run.sh has activated the virtual environment.
set -e
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/models tests/datasets tests/engine tests/evaluation \
    tests/preprocessing/depth_maps/test_network.py tests/preprocessing/depth_maps/test_scaling.py \
    tests/preprocessing/depth_maps/test_disparity.py tests/test_two_processes.py

# ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA, MKL_CBWR, threads: an orthogonal array, in which any two
# values of two different columns meet. A processor gets the rows that it has the instructions for.
rows="default SSE41 COMPATIBLE 1
avx2 AVX2 AUTO 1
default AVX2 AVX2 2
avx2 SSE41 AVX2 4
avx512 AVX512_CORE AVX2 1
default AVX512_CORE AUTO 4
avx2 AVX512_CORE COMPATIBLE 2
avx512 SSE41 AUTO 2
avx512 AVX2 COMPATIBLE 4"
best=$(python -c 'import torch; print(torch.backends.cpu.get_cpu_capability())')
case $best in
AVX512) ;;
AVX2) rows=$(echo "$rows" | grep -v -i avx512) ;;
*) rows="default DEFAULT AUTO 1
default DEFAULT AUTO 2
default DEFAULT AUTO 4" ;;
esac

failed=
while read -r aten onednn mkl threads; do
    setting="ATEN_CPU_CAPABILITY=$aten ONEDNN_MAX_CPU_ISA=$onednn MKL_CBWR=$mkl OMP_NUM_THREADS=$threads"
    # OpenCV's faster routines for x86-64 do not exist elsewhere either.
    [ "$aten" != default ] || setting="$setting OPENCV_IPP=disabled OPENCV_LOG_LEVEL=ERROR"
    echo "== $setting"
    # shellcheck disable=SC2086  # several words
    env $setting python -m pytest -q -n 2 --dist loadfile -m "not slow" "$@" </dev/null ||
        failed="$failed
$setting"
done <<ROWS
$rows
ROWS
echo "== Done on a processor with $best instructions"
[ -z "$failed" ] || {
    echo "expected the tests to pass in every setting, got failures with:$failed" >&2
    exit 1
}
