#!/usr/bin/env bash
# Runs a command on this machine, in a new process group that a signal ends together with it. Calls
# that only keep a connection open succeed at once.
while [[ $1 == -* ]]; do
  case $1 in
    -O | -N) exit 0 ;;
    -[bcDEeFIiJLlmopQRSWw]) shift 2 ;;
    *) shift ;;
  esac
done
shift
set -m
bash -c "$*" <&0 &
trap 'kill -9 -- -$!; exit 255' TERM INT
wait $!
