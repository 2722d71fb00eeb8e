#!/bin/sh
# Hands over to the medium's installer when that is what was signed; the installer judges everything else with OpenSSL.
# Before the first use check this file itself; the commands are in the help page on installing.
set -eu
umask 077
LC_ALL=C
export LC_ALL
say() { printf '%s\n' "$*" >&2; }
stop() { say "error: $1"; say "hint: $2"; exit 3; }

here=$(cd "$(dirname "$0")" && pwd -P)
python=${PYTHON:-python3}
typed=
if [ "${1:-}" = --fingerprint ]; then
    typed=${2:-}
    shift 2 || shift
fi
[ -n "$typed" ] || {
    say "usage: sh install.sh --fingerprint HEX [verify|preflight|install] [--help]"
    say "The fingerprint comes by another way than this medium: on paper, by telephone."
    exit 2
}
command -v openssl >/dev/null || stop "openssl is not installed" "apt-get install openssl"
command -v "$python" >/dev/null || stop "$python is not installed" "apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    stop "$python is not Python 3.11, 3.12 or 3.13" "name another: PYTHON=/path/to/python3.11 sh install.sh ..."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# A copy: what is checked and what is run must be the same bytes, whatever the medium does meanwhile. The digest came into
# this file when the medium was built; whoever checked this file by hand vouches for the installer with it.
program=0000000000000000000000000000000000000000000000000000000000000000
if [ ! -f "$here/installer.pyz" ] || [ -h "$here/installer.pyz" ]; then
    stop "the medium has no file installer.pyz" "have it made and carried again"
fi
head -c 67108864 "$here/installer.pyz" >"$work/installer.pyz"
[ "$(openssl dgst -sha256 -r "$work/installer.pyz" | cut -d' ' -f1)" = "$program" ] ||
    stop "the installer is not what was signed" "do not install from this medium; have it made and carried again"
[ $# -gt 0 ] || set -- install
status=0
"$python" -I "$work/installer.pyz" "$@" --medium "$here" --fingerprint "$typed" || status=$?
exit "$status"
