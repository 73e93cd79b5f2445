#!/bin/sh
# setup.sh WHAT...: make .venv, if needed, and install the project with the extras named (demo needs none).
# Says what it does; does nothing where it is already done.  PYTHON picks another interpreter.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
extras=$(IFS=,; echo "$*")
mark=.venv/ready-${extras:-plain}
for done in "$mark" .venv/ready-test; do  # the extra `test` includes everything
  if [ -e "$done" ] && [ -z "$(find pyproject.toml tools/constraints.txt -newer "$done")" ]; then exit 0; fi
done
command -v "$python" >/dev/null || {
  echo "setup: $python is not installed; on Debian: apt-get install python3 python3-venv" >&2
  exit 3
}
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || {
  echo "setup: $("$python" --version) found; ska_edge runs on Python 3.10 to 3.13 (set PYTHON=...)" >&2
  exit 3
}
if [ ! -x .venv/bin/pip ]; then
  echo "setup: making .venv with $("$python" --version)"
  rm -rf .venv
  if ! "$python" -m venv .venv 2>/dev/null; then
    rm -rf .venv
    # Debian keeps venv in a package of its own; as root (a container) we may fetch it
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "setup: installing Debian's python$version-venv"
      apt-get update -qq && apt-get install -y -qq "python$version-venv" >/dev/null
      "$python" -m venv .venv
    else
      echo "setup: Python has no venv here; run: sudo apt-get install python$version-venv" >&2
      exit 3
    fi
  fi
fi
echo "setup: installing ska_edge${extras:+ with extras $extras} and what it needs into .venv (about a minute)"
.venv/bin/pip install --quiet --disable-pip-version-check --constraint tools/constraints.txt --editable ".${extras:+[$extras]}"
case ",$extras," in *,test,*)
  # Lava's own requirements shut out this Python and this NumPy, which it runs on all the same (docs/lava.md)
  if "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
      --constraint tools/constraints.txt lava-nc
  fi
esac
echo "setup: compiling the learning core once (about 15 seconds)"
.venv/bin/python -m ska_edge.backends.jit
touch "$mark"
