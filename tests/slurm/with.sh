#!/usr/bin/env bash
# with.sh COMMAND...: start a SLURM, run a command, stop SLURM. If SLURM cannot be started, say so
# and do nothing.
set -u
here=$(cd "$(dirname "$0")" && pwd)
trap '"$here/stop.sh"' EXIT
"$here/start.sh" || { code=$?; [ $code = 3 ] && exit 0; exit $code; }
"$@"
