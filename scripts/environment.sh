# Sourced by the commands of this folder: makes the project's environment in .venv.
#
#   make_environment [EXTRA]
#
# Installs the project (with an extra such as `dev`) unless the same installation is there already.
# uv does the work: the one on PATH, else one installed into the environment itself.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
environment="$root/.venv"

# pip's local wheels serve uv as well.
if [ -n "${PIP_FIND_LINKS:-}" ] && [ -z "${UV_FIND_LINKS:-}" ]; then
    export UV_FIND_LINKS="$PIP_FIND_LINKS"
fi

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or later is needed; none was found. Set PYTHON to one." >&2
    return 1
}

make_environment() {
    local extra="${1:-}" stamp wanted python uv target
    python="$(find_python)" || return 1
    stamp="$environment/installed-${extra:-base}"
    wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" | sha256sum | cut -d' ' -f1)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    if command -v uv >/dev/null 2>&1; then
        uv=uv
        [ -x "$environment/bin/python" ] || uv venv --quiet --python "$python" "$environment"
    else
        [ -x "$environment/bin/python" ] || "$python" -m venv "$environment" || {
            echo "Could not make a virtual environment with $python (on Debian: apt install python3-venv)." >&2
            return 1
        }
        uv="$environment/bin/uv"
        [ -x "$uv" ] || "$environment/bin/python" -m pip install --quiet uv
    fi
    target="$root"
    [ -n "$extra" ] && target="$root[$extra]"
    # Without a wheel of one's own, PyTorch comes in the variant that this machine's accelerator wants, not the largest.
    local torch=()
    if ! ls ${UV_FIND_LINKS:+"$UV_FIND_LINKS"}/torch-*.whl >/dev/null 2>&1; then
        torch=(--torch-backend "${UV_TORCH_BACKEND:-auto}")
    fi
    echo "Installing the project into .venv" >&2
    "$uv" pip install --quiet "${torch[@]}" --python "$environment/bin/python" --constraints "$root/constraints.txt" --editable "$target"
    echo "$wanted" >"$stamp"
}
