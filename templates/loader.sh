#!/bin/sh
# Loads AppArmor profiles into this node's kernel, checks that it has just these, and looks again every minute.
# What is loaded stays loaded when this ends: taking a profile away would leave its running programs unconfined.
set -eu
profiles=${PROFILES:-/profiles}
kernel=${KERNEL:-/sys/kernel/security/apparmor}
state=${STATE:-/run/loader}
seconds=${SECONDS_BETWEEN:-60}
rounds=${ROUNDS:-0} # 0: for ever
trap 'exit 0' TERM INT

# The kernel lists NAME (MODE); where it keeps the policy that it was given, that must be what the parser makes of the text.
loaded() {
  name=${1##*/}
  mode=enforce
  if grep -q "^profile $name .*flags=(complain" "$1"; then mode=complain; fi
  grep -qxF "$name ($mode)" "$kernel/profiles" || return 1
  for raw in "$kernel/policy/profiles/$name".*/raw_data; do
    [ -e "$raw" ] || continue
    apparmor_parser --skip-kernel-load --skip-cache --stdout "$1" >"$state/wanted" || return 1
    cmp -s "$state/wanted" "$raw" || return 1
  done
}

round() {
  good=yes
  for file in "$profiles"/*; do
    [ -f "$file" ] || continue
    if loaded "$file"; then continue; fi
    echo "loading ${file##*/}"
    if apparmor_parser --replace --skip-cache "$file" && loaded "$file"; then continue; fi
    echo "${file##*/} is not loaded as it is written" >&2
    good=no
  done
  if [ $good = yes ]; then touch "$state/ready"; else rm -f "$state/ready"; fi
}

if ! [ -e "$kernel/profiles" ]; then
  echo "AppArmor is off on this node: $kernel/profiles is missing" >&2
  rm -f "$state/ready"
  exit 1
fi
while :; do
  round
  if [ "$rounds" -gt 0 ]; then
    rounds=$((rounds - 1))
    if [ "$rounds" -eq 0 ]; then break; fi
  fi
  sleep "$seconds" &
  wait $!
done
[ -e "$state/ready" ]
