#!/bin/sh
# Installs what rendering without a display, RealSense cameras and the SpaceMouse
# need, by Debian's packages; with --tests also what only tests need: ROS 1,
# which a robot's computer has from its own workspace, and Chromium.
set -eu
packages='libegl1 libgl1 libgl1-mesa-dri libosmesa6'
packages="$packages libusb-1.0-0 libhidapi-hidraw0"
if [ "${1:-}" = --tests ]; then
  packages="$packages python3-rospy python3-geometry-msgs python3-sensor-msgs"
  packages="$packages python3-std-msgs python3-dynamic-reconfigure"
  packages="$packages python3-roslaunch python3-rosmaster python3-genpy"
  packages="$packages python3-genmsg ros-std-msgs ros-actionlib-msgs"
  packages="$packages python3-actionlib-msgs rosbash chromium"
fi

if ! command -v apt-get >/dev/null; then
  cat >&2 <<EOF
This system has no apt-get. Rendering needs EGL or OSMesa, RealSense cameras \
need libusb, the SpaceMouse hidapi: install what your system has in place of \
Debian's packages $packages. Training from state runs without them.
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
