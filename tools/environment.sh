# Sourced by demo.sh and tests/run.sh, from the repository's root: make `python` one that has
# everything in requirements.txt. Uses the active virtual environment, or creates .venv.

. tools/virtual_environment.sh
if [ -z "${VIRTUAL_ENV:-}" ]; then
    make_environment .venv python3 python python3.14 python3.13 python3.12 python3.11 python3.10 ||
        exit 1
    VIRTUAL_ENV=$(pwd)/.venv
    export VIRTUAL_ENV
    PATH=$(programs_of "$VIRTUAL_ENV"):$PATH
    export PATH
else
    echo "== Using the active virtual environment $VIRTUAL_ENV"
fi

# Installing is skipped when these very requirements were installed here before.
installed=$VIRTUAL_ENV/cdda-requirements.txt
if ! cmp -s requirements.txt "$installed"; then
    echo "== Installing requirements.txt (about 5 GB with the CUDA build of PyTorch; a few minutes)"
    python -m pip install --quiet --disable-pip-version-check -r requirements.txt || exit 1
    cp requirements.txt "$installed"
fi

# Keep freed memory for the next iteration instead of returning it to the system: training on a CPU
# is 15 to 20 % faster (glibc reads these; elsewhere they have no effect).
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864
