#!/bin/sh
# Set up .venv: `sh tools/setup.sh run` for running the bot, `sh tools/setup.sh dev` for its tests and checks as well.
# Does nothing when the lock files and pyproject.toml are the ones it last installed.
set -eu
want=$1
case $want in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) echo "setup: say 'run' or 'dev'" >&2; exit 2 ;;
esac

python=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: botctl needs Python 3.11 to 3.13, and found none. Install one, or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

stamp=.venv/.botctl-$want
now=$(cat "$lock" pyproject.toml tools/setup.sh | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
[ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && exit 0
# The development set holds everything that running needs.
[ "$want" = run ] && [ -e .venv/.botctl-dev ] && exec sh tools/setup.sh dev

if [ ! -x .venv/bin/python ]; then
    echo "setup: making .venv with $("$python" --version)" >&2
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "setup: could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
fi
rm -f "$stamp"
echo "setup: installing the packages of $lock (pinned, with hashes)" >&2
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"; then
    echo "setup: the packages could not be installed; is the package index reachable from here? Run the same command again to go on." >&2
    exit 1
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
echo "$now" >"$stamp"
