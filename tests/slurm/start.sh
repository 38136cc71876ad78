#!/usr/bin/env bash
# Start a real SLURM on this machine, with accounting and an ssh login (root on Debian, no systemd).
# If it already runs, it is only checked; stop.sh ends it. Partitions: cpu (one node) and gpu (one
# node with 2 fake GPUs). Exit code 3, with a reason: it cannot be started on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
state=/var/lib/lambda-hat-slurm
etc=/etc/slurm
host=$(hostname -s)
mark="# written by lambda_hat's tests/slurm/start.sh"
began=$SECONDS

say() { echo "slurm: $* ($((SECONDS - began)) s)"; }
leave() { echo "slurm: left out: $*"; exit 3; }
die() { echo "slurm: $*" >&2; exit 1; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
until_ok() { local tries=$1; shift; for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done; return 1; }

[ "$(id -u)" = 0 ] || leave "it takes root to install packages and start daemons"
command -v apt-get >/dev/null || leave "it takes Debian's packages"
if [ -e $etc/slurm.conf ] && ! grep -qF "$mark" $etc/slurm.conf; then
  leave "$etc/slurm.conf is not this script's, so this machine has a SLURM of its own"
fi

install_missing() {
  local missing=() package
  for package in slurmctld slurmd slurm-client slurmdbd munge mariadb-server openssh-server openssh-client; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } > /dev/null ||
    leave "apt-get cannot install ${missing[*]}"
}

write_configuration() {
  install -d -m 0755 $state $state/{log,run,spool} $etc
  install -d -o slurm -g slurm -m 0755 $state/ctld
  getent hosts localhost >/dev/null || echo "127.0.0.1 localhost" >> /etc/hosts
  getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >> /etc/hosts
  for gpu in 0 1; do [ -e /dev/fakegpu$gpu ] || mknod /dev/fakegpu$gpu c 1 3; done
  { echo "$mark"; sed -e "s|@HOST@|$host|g" -e "s|@STATE@|$state|g" "$here/slurm.conf.in"; } > $etc/slurm.conf
  sed -e "s|@STATE@|$state|g" "$here/slurmdbd.conf.in" > $etc/slurmdbd.conf
  chown slurm:slurm $etc/slurmdbd.conf
  chmod 0600 $etc/slurmdbd.conf
  printf 'AutoDetect=off\nNodeName=gpu1 Name=gpu File=/dev/fakegpu[0-1]\n' > $etc/gres.conf
  echo "CgroupPlugin=cgroup/v1" > $etc/cgroup.conf
}

start_munge() {
  sh -c 'munge -n | unmunge' >/dev/null 2>&1 && return 0
  install -d -o munge -g munge -m 0755 /run/munge
  install -d -o munge -g munge -m 0711 /var/lib/munge
  install -d -o munge -g munge -m 0700 /var/log/munge /etc/munge
  if [ ! -s /etc/munge/munge.key ]; then
    dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
    chown munge:munge /etc/munge/munge.key
    chmod 0400 /etc/munge/munge.key
  fi
  runuser -u munge -- /usr/sbin/munged
  until_ok 50 sh -c 'munge -n | unmunge' || die "munge does not answer: /var/log/munge/munged.log"
}

start_database() {
  local socket=$state/run/mysqld.sock data=$state/mysql
  mysqladmin --socket=$socket -uroot ping >/dev/null 2>&1 && return 0
  install -d -o mysql -g mysql -m 0750 $data
  install -d -o mysql -g mysql /run/mysqld
  chmod 0777 $state/run
  [ -d $data/mysql ] || mariadb-install-db --user=mysql --datadir=$data \
    --auth-root-authentication-method=socket --skip-test-db > $state/log/mysql-install.log 2>&1
  setsid mariadbd --no-defaults --user=mysql --datadir=$data --socket=$socket --skip-networking \
    --pid-file=$state/run/mysqld.pid --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
    --innodb-log-file-size=16M > $state/log/mariadbd.log 2>&1 < /dev/null &
  until_ok 150 mysqladmin --socket=$socket -uroot ping || die "mariadb does not answer: $state/log/mariadbd.log"
  mysql --socket=$socket -uroot -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
    CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
    GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
  ln -sfn $socket /run/mysqld/mysqld.sock
}

nodes_are_up() { [ "$(timeout 5 sinfo -h -N -t idle,mixed,allocated -o %N 2>/dev/null | sort -u | wc -l)" = 2 ]; }

start_slurm() {
  alive $state/ctld/slurmdbd.pid || runuser -u slurm -- /usr/sbin/slurmdbd
  until_ok 100 timeout 5 sacctmgr -n show cluster || die "slurmdbd does not answer: $state/ctld/slurmdbd.log"
  alive $state/ctld/slurmctld.pid || /usr/sbin/slurmctld
  for node in cpu1 gpu1; do
    mkdir -p $state/spool/$node
    alive $state/run/slurmd-$node.pid || /usr/sbin/slurmd -N $node
  done
  until_ok 50 nodes_are_up || for node in cpu1 gpu1; do scontrol update NodeName=$node State=RESUME || true; done
  until_ok 100 nodes_are_up || { tail -n 5 $state/log/slurmd-*.log $state/ctld/slurmctld.log >&2; die "the nodes are not up"; }
}

start_login() {
  install -d -m 0700 $state/ssh
  install -d -m 0755 /run/sshd
  for key in hostkey id; do [ -f $state/ssh/$key ] || ssh-keygen -q -t ed25519 -N '' -f $state/ssh/$key; done
  install -m 0600 $state/ssh/id.pub $state/ssh/authorized_keys
  awk '{print "[127.0.0.1]:2222 " $1 " " $2}' $state/ssh/hostkey.pub > $state/ssh/known_hosts
  sed -e "s|@STATE@|$state|g" "$here/sshd_config.in" > $state/ssh/sshd_config
  alive $state/run/sshd.pid || /usr/sbin/sshd -f $state/ssh/sshd_config -E $state/log/sshd.log
}

install_missing
write_configuration
start_munge
start_database
start_slurm
start_login
until_ok 50 sacct -n || die "sacct does not answer"
say "ready: $(sinfo -h -o '%P %D %t' | paste -sd, -)"
