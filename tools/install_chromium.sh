#!/bin/sh
# Install Chromium for tests/system/test_page.py, where that needs no one's permission: as root, with apt.
# The headless shell is the same browser without windows: the tests need half of the CPU with it.
# Where none can be installed, those tests are skipped (tests/skips.toml), so this never fails.
set -eu
for program in chromium-headless-shell chromium chromium-browser google-chrome; do
    if command -v "$program" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "chromium: installing the package of the distribution, which takes a minute" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >&2 || true
    for package in chromium-headless-shell chromium; do
        if apt-get -qq -y install --no-install-recommends "$package" fonts-dejavu-core >&2; then
            exit 0
        fi
    done
    echo "chromium: the package could not be installed; see above" >&2
fi
echo "chromium: there is none, so the tests of the page in a browser are skipped. On Debian, type: apt install chromium" >&2
