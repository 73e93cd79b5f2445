#!/usr/bin/env bash
# check_wheel.sh VERSION...: build the wheel once, then install it in a fresh venv of each Python version, away from the
# sources, and run import timing, demo, train, predict, show and verify there.  A missing Python fails.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools/setup.sh test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m build --quiet --wheel --outdir "$work/dist" .

interpreter() { # python3.X from the PATH, or from pyenv
  if "python$1" --version >/dev/null 2>&1; then command -v "python$1"; return; fi
  local found
  found=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null | tail -n 1)
  [ -n "$found" ] || { echo "check_wheel: no Python $1 on this machine" >&2; exit 3; }
  echo "$found"
}

for version in "$@"; do
  python=$(interpreter "$version")
  echo "check_wheel: $("$python" --version)"
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check --constraint tools/constraints.txt "$work"/dist/*.whl
  (
    cd "$work"
    export PATH="$work/$version/bin:$PATH"
    python "$root/tools/check_import.py"
    ska-edge demo --quiet --seeds 2 --passes 2 --out "$version-demo" >/dev/null
    test -s "$version-demo/index.html"
    ska-edge train --dataset digits --passes 2 --quiet --out "$version.ska"
    ska-edge predict "$version.ska" --dataset digits | tail -n 1
    ska-edge show "$version.ska" >/dev/null
    ska-edge models list >/dev/null
    ska-edge models rebuild digits-w8d8 --quiet
    ska-edge verify "$version.ska" --against numba,c-gcc --samples 200 --quiet
  )
done
digests=$(for version in "$@"; do sha256sum "$work/$version.ska" | cut -c1-64; done | sort -u | wc -l)
[ "$digests" = 1 ] || { echo "check_wheel: the model differs between Python versions" >&2; exit 1; }
echo "check_wheel: the same model, to the byte, from every Python"
