#!/bin/sh
# Makes a virtual environment with the locked packages and this checkout in it.
#   make_venv.sh 3.10 .venv requirements/py310.txt
set -eu
version=$1 folder=$2 lock=$3
cd "$(dirname "$0")/.."

python=$(scripts/find_python.sh "$version")
echo "Setting up $folder with $python from $lock (some minutes, 2 GB)."
# --clear only if what stands there is not a working $version.
PYTHON="$folder/bin/python" scripts/find_python.sh "$version" \
  >/dev/null 2>&1 || "$python" -m venv --clear "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check"
$pip install --requirement "$lock"
# Dependencies and build tools are the lock's.
$pip install --no-deps --no-build-isolation --editable .
touch "$folder/.installed"
echo "$folder is ready."
