#!/bin/sh
# Set up .venv: `sh tools/setup.sh run` to run the bot, `sh tools/setup.sh dev` also for tests and checks.
# Does nothing if the lock file and pyproject.toml have not changed since the last installation.
set -eu
want=$1
case $want in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) echo "setup: add an argument: sh tools/setup.sh run, or sh tools/setup.sh dev" >&2; exit 2 ;;
esac

python=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 to 3.13 was found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

stamp=.venv/.botctl-$want
now=$(cat "$lock" pyproject.toml tools/setup.sh | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
[ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && exit 0
# The packages for development include all packages for running.
[ "$want" = run ] && [ -e .venv/.botctl-dev ] && exec sh tools/setup.sh dev

if [ ! -x .venv/bin/python ]; then
    echo "setup: creating .venv with $("$python" --version)" >&2
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "setup: a virtual environment could not be created. On Debian and Ubuntu, type: apt install python3-venv" >&2
        exit 1
    fi
fi
rm -f "$stamp"

# Show the package that pip is at, from its output on stdin: on one line of a terminal, else one line each. The last line
# of the input is `status N`, which becomes the status of this function.
show_progress() {
    total=$(grep -c '^[A-Za-z0-9]' "$lock")
    current=0
    code=1
    line='setup: %s\n'
    [ -t 2 ] && line='\r\033[Ksetup: %s'
    while read -r word name _; do
        case $word in
        Requirement) current=$((current + 1)) ;; # it is there already
        Collecting | Processing)
            current=$((current + 1))
            printf "$line" "downloading $current of $total: ${name##*/}" >&2
            ;;
        Installing) printf "$line" "unpacking $total packages, which takes half a minute" >&2 ;;
        status) code=$name ;;
        esac
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
    return "$code"
}

pip="env PYTHONUNBUFFERED=1 .venv/bin/python -m pip install --disable-pip-version-check"
echo "setup: installing the packages of $lock (pinned, with hashes), which takes a minute or two" >&2
if ! { $pip --progress-bar off --require-hashes -r "$lock" && echo "status 0" || echo "status $?"; } | show_progress; then
    echo "setup: the packages could not be installed. Check that the package index is reachable, then type the same command again." >&2
    exit 1
fi
echo "setup: installing botctl itself" >&2
$pip --quiet --no-build-isolation --no-deps --editable .
echo "$now" >"$stamp"
