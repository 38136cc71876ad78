#!/usr/bin/env bash
# End the processes of start.sh by their pid files, jobs first. Their state is kept.
set -u
state=/var/lib/lambda-hat-slurm

end() {
  [ -s "$1" ] || return 0
  local pid
  pid=$(cat "$1")
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null
}

grep -qs "tests/slurm/start.sh" /etc/slurm/slurm.conf || exit 0
scancel --user=root 2>/dev/null
for file in $state/run/slurmd-*.pid; do end "$file"; done
for file in $state/ctld/slurmctld.pid $state/ctld/slurmdbd.pid $state/run/mysqld.pid $state/run/sshd.pid; do end "$file"; done
end /run/munge/munged.pid
