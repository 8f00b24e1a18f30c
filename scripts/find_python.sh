#!/bin/sh
# Prints the path of a Python of one version that runs and can make a venv.
#   find_python.sh 3.10
# $PYTHON wins and must fit; then PATH, pyenv, conda, at last uv installs one.
set -eu
version=$1

# Prints the interpreter behind $1, or fails. Without ensurepip (Debian splits
# it off) no venv can be made; pyenv's shims stand on PATH but may not run.
fitting() {
  [ -x "$1" ] && "$1" - "$version" 2>/dev/null <<'EOF'
import ensurepip, sys, venv
found = '%d.%d' % sys.version_info[:2]
print(sys.executable) if found == sys.argv[1] else sys.exit(1)
EOF
}

if [ -n "${PYTHON:-}" ]; then
  fitting "$(command -v "$PYTHON")" && exit
  found=$("$PYTHON" --version 2>/dev/null) || found='nothing that runs'
  cat >&2 <<EOF
PYTHON=$PYTHON is $found, but a Python $version with the modules venv and \
ensurepip is needed.
Name such a one in PYTHON, or unset it and one is searched for.
EOF
  exit 1
fi

candidates() {
  echo "$PATH" | tr : '\n' | sed "s|\$|/python$version|"
  ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/"python$version" \
    2>/dev/null || true
  for root in "${CONDA_PREFIX:-}" "$HOME/miniconda3" "$HOME/anaconda3" \
    "$HOME/miniforge3"; do
    ls -d "$root/bin/python$version" "$root"/envs/*/bin/"python$version" \
      2>/dev/null || true
  done
  # Where conda itself writes down every environment it has made.
  sed "s|\$|/bin/python$version|" "$HOME/.conda/environments.txt" \
    2>/dev/null || true
}

candidates | {
  while read -r path; do
    fitting "$path" && exit
  done
  exit 1
} && exit

for uv in "uv" "python3 -m uv"; do
  $uv --version >/dev/null 2>&1 || continue
  echo "No Python $version was found; uv installs one." >&2
  $uv python install "$version" >&2 || continue
  fitting "$($uv python find "$version")" && exit
done

cat >&2 <<EOF
A Python $version is needed and none was found: not on PATH, under pyenv's \
versions or in a conda environment, and uv could not install one.
Install it by one of
  pip install uv                              (and run the same command again)
  pyenv install $version
  conda create -n python$version python=$version
  apt-get install python$version python$version-venv  (where it is packaged)
or name one: PYTHON=/path/to/python$version
EOF
exit 1
