#!/usr/bin/env bash
# Runs a command in the environment that setup.sh made and, if it is there, the built package.
# usage: scripts/with_env.sh COMMAND [ARGUMENT ...]
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC1091
. "$root/.venv/bin/activate"
# The wheels' own ament index lies in the virtual environment.
[ -n "${AMENT_PREFIX_PATH:-}" ] || export AMENT_PREFIX_PATH=$VIRTUAL_ENV
if [ -f "$root/install/local_setup.bash" ]; then
  # shellcheck disable=SC1091
  . "$root/install/local_setup.bash"
fi
exec "$@"
