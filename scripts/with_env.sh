#!/usr/bin/env bash
# Runs a command in the environment that setup.sh made and, if it is there, the built package.
# usage: scripts/with_env.sh COMMAND [ARGUMENT ...]
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC1091
. "$root/.venv/bin/activate"
# The wheels' own ament index lies in the virtual environment; beside others that are sourced.
if [ -d "$VIRTUAL_ENV/share/ament_index" ] || [ -z "${AMENT_PREFIX_PATH:-}" ]; then
  export AMENT_PREFIX_PATH=$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}
fi
# Not install/local_setup.bash, which calls a Python without quotes: a folder may hold a space.
package=$root/install/tiny_bev_ros/share/tiny_bev_ros/package.bash
if [ -f "$package" ]; then
  # shellcheck disable=SC1090
  . "$package"
fi
# Nor can the first line of a script name an interpreter whose path has a space, or is long.
if [ -f "$1" ] && [[ $(head -n 1 -- "$1" | tr -d '\0') == "#!"*"$VIRTUAL_ENV/bin/python"* ]]; then
  set -- python "$@"
fi
exec "$@"
