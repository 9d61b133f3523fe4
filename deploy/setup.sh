#!/bin/sh
# Make .venv hold exactly what requirements/dev.txt locks, on a machine that may have neither
# uv nor a recent Python. Safe to run again; nothing outside the checkout is touched.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.synced
wanted=$(cat requirements/dev.txt requirements/uv.txt .python-version | cksum)
if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

runs_312() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

find_uv() {
    for uv in uv .venv/bin/uv; do
        if $uv --version >/dev/null 2>&1; then
            return
        fi
    done
    echo "setup: uv is missing; bringing it" >&2
    uv=.tools/uv/bin/uv
    for python in python3 python3.13 python3.12 python3.14 python; do
        if "$python" -m venv .tools/uv >/dev/null 2>&1; then
            .tools/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
            return
        fi
    done
    echo "setup: no python3 with the venv module was found; install one (Debian: python3-venv)" >&2
    exit 1
}

find_uv
# The first Python that really runs: pyenv's shims exist for versions that are not selected.
python=$(cut -d. -f1,2 .python-version)
for candidate in "${PYTHON:-}" "python$python" python3.13 python3.12 python3.14 python3; do
    if [ -n "$candidate" ] && runs_312 "$candidate"; then
        python=$("$candidate" -c 'import sys; print(sys.executable)')
        break
    fi
done
rm -f $stamp
if ! runs_312 .venv/bin/python; then
    echo "setup: making .venv with $python" >&2
    $uv venv --quiet --clear --python "$python" .venv
fi
# Compiled here: otherwise each of the console's programs does it at its first start.
$uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements/dev.txt
printf '%s' "$wanted" > $stamp
rm -rf .tools
