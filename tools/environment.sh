# Sourced by demo.sh and tests/run.sh, from the repository's root: make `python` one that has
# everything in requirements.txt. Uses the active virtual environment, or creates .venv.

if [ -z "${VIRTUAL_ENV:-}" ]; then
    if [ ! -x .venv/bin/python ]; then
        for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
            if command -v "$candidate" >/dev/null 2>&1 &&
                "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
                base_python=$candidate
                break
            fi
        done
        if [ -z "${base_python:-}" ]; then
            echo "expected Python 3.10 or newer on PATH, found none; install one and run this again." >&2
            exit 1
        fi
        echo "== Creating a virtual environment in .venv with $("$base_python" --version)"
        "$base_python" -m venv .venv || {
            rm -rf .venv
            echo "could not create .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 1
        }
    fi
    VIRTUAL_ENV=$(pwd)/.venv
    export VIRTUAL_ENV
    PATH=$VIRTUAL_ENV/bin:$PATH
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
