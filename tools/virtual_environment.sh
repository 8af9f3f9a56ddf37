# Sourced by scripts that make virtual environments.

# Make one in a folder, unless it is there, with the first of some names that is a Python 3.10 or
# newer: `make_environment FOLDER NAME…`
make_environment() {
    environment=$1
    shift
    [ ! -x "$(programs_of "$environment")/python" ] || return 0
    base_python=
    for candidate in "$@"; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            base_python=$candidate
            break
        fi
    done
    if [ -z "$base_python" ]; then
        echo "expected Python 3.10 or newer on PATH, found none; install one and run this again" \
            "(looked for: $*)." >&2
        return 1
    fi
    echo "== Creating a virtual environment in $environment with $("$base_python" --version)"
    "$base_python" -m venv "$environment" && return
    rm -rf "$environment"
    echo "could not create $environment; on Debian and Ubuntu: apt-get install python3-venv; in a" \
        "folder that nobody may write to: activate a virtual environment of another folder." >&2
    return 1
}

# Print the folder of an environment in which its programs lie; Windows has a name of its own.
programs_of() {
    if [ -d "$1/Scripts" ]; then echo "$1/Scripts"; else echo "$1/bin"; fi
}
