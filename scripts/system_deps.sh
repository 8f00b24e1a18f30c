#!/bin/sh
# Installs what rendering without a display needs, by Debian's packages.
set -eu
packages='libegl1 libgl1 libgl1-mesa-dri libosmesa6'

if ! command -v apt-get >/dev/null; then
  cat >&2 <<EOF
This system has no apt-get. Rendering needs EGL or OSMesa: install what your \
system has in place of Debian's packages $packages. Training from state runs \
without them.
EOF
  exit 1
fi

missing=
for package in $packages; do
  dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null |
    grep -q '^install ok installed$' || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "Nothing to install: $packages are here."
  exit
fi

sudo=
if [ "$(id -u)" != 0 ]; then
  sudo=sudo
  if ! command -v sudo >/dev/null; then
    echo "Needs root and there is no sudo. As root:" \
      "apt-get install$missing" >&2
    exit 1
  fi
fi
echo "Installing$missing by apt-get."
$sudo apt-get update --quiet=2
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
  --no-install-recommends $missing
