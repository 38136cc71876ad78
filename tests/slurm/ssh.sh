#!/usr/bin/env bash
# Runs a command here, in a process group of its own that a signal ends with it; what only keeps a
# connection open is at once well.
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
