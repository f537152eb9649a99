#!/usr/bin/env bash
# Runs a command in the environment that setup.sh made and, if it is there, the built package.
# usage: scripts/with_env.sh COMMAND [ARGUMENT ...]
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC1091
. "$root/.venv/bin/activate"
# ROS 2 from wheels has its ament index in the virtual environment; sourced ones are kept.
if [ -d "$VIRTUAL_ENV/share/ament_index" ] || [ -z "${AMENT_PREFIX_PATH:-}" ]; then
  export AMENT_PREFIX_PATH=$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}
fi
# install/local_setup.bash would fail in a folder with a space: it calls Python without quotes.
package=$root/install/tiny_bev_ros/share/tiny_bev_ros/package.bash
if [ -f "$package" ]; then
  # shellcheck disable=SC1090
  . "$package"
fi
# Python scripts are run by name of the interpreter: their first line allows no space or long path.
if [ -f "$1" ] && [[ $(head -n 1 -- "$1" | tr -d '\0') == "#!"*"$VIRTUAL_ENV/bin/python"* ]]; then
  set -- python "$@"
fi
exec "$@"
