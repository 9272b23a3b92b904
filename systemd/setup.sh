#!/bin/sh
# Puts aalearn's units, its user and its own AppArmor profile in place, or takes them away again. See README.md beside it.
set -eu

usage() {
  cat <<'TXT'
Usage: setup.sh [--dry-run] [--remove]

Installs the units of aalearn (aalearn.service, aalearn-apply.socket), its user and its own AppArmor profile. Nothing is
started. A file that is there and differs is kept with a ~ behind its name.

  --dry-run   only say what would be done
  --remove    stop the units and take away what was installed; the store, the records of what was applied and the user stay

Environment: PREFIX (default /usr/local), and DESTDIR for packagers: only files are copied then.

Example: sudo sh setup.sh && sudo systemctl enable --now aalearn.service
TXT
}

dry="" remove=""
for word in "$@"; do
  case $word in
    --dry-run) dry=yes ;;
    --remove) remove=yes ;;
    -h | --help) usage; exit 0 ;;
    *) printf 'setup.sh: there is no option %s\n' "$word" >&2; usage >&2; exit 2 ;;
  esac
done

here=$(cd "$(dirname "$0")" && pwd)
prefix=${PREFIX:-/usr/local}
dest=${DESTDIR:-}

# Each line: the file here, and where it goes.
files() {
  cat <<TXT
aalearn.sysusers $prefix/lib/sysusers.d/aalearn.conf
aalearn.tmpfiles $prefix/lib/tmpfiles.d/aalearn.conf
aalearn.service $prefix/lib/systemd/system/aalearn.service
aalearn-apply.socket $prefix/lib/systemd/system/aalearn-apply.socket
aalearn-apply@.service $prefix/lib/systemd/system/aalearn-apply@.service
aalearn.apparmor /etc/apparmor.d/aalearn
TXT
}

# Runs a command, or says it.
do_it() {
  if [ -n "$dry" ]; then printf '%s\n' "$*"; else "$@"; fi
}

# A command that may be missing or fail without harm to the rest: said, and the end is 3.
failed=""
try() {
  if [ -n "$dry" ]; then printf '%s\n' "$*"; return; fi
  "$@" || { printf 'setup.sh: this failed: %s\n' "$*" >&2; failed=yes; }
}

# What root's commands made before there was a service becomes the service's: the store. The records of what was applied, which
# stood beside it once, get a folder of root's own. Only where the folder is still root's, so that nobody else can have put
# anything there.
adopt() {
  state=/var/lib/aalearn records=/var/lib/aalearn-apply
  if [ ! -d "$state" ] || [ -h "$state" ] || [ "$(stat -c %u "$state")" != 0 ]; then return; fi
  if [ -d "$state/backups" ] && [ ! -h "$state/backups" ] && [ "$(stat -c %u "$state/backups")" = 0 ] && [ ! -e "$records" ]; then
    try mv -T "$state/backups" "$records"
  fi
  for made in "$state"/aalearn.db* "$state"/metrics; do
    if [ -e "$made" ]; then try chown -R -h aalearn:aalearn "$made"; fi
  done
}

apparmor_on() { [ -e /sys/kernel/security/apparmor/profiles ] && command -v apparmor_parser >/dev/null; }
systemd_runs() { [ -d /run/systemd/system ]; }

place() {
  files | while read -r name target; do
    target=$dest$target
    if cmp -s "$here/$name" "$target"; then continue; fi
    if [ -e "$target" ]; then do_it cp -p "$target" "$target~"; fi
    do_it mkdir -p "$(dirname "$target")"
    # Beside it and then renamed: never half a file.
    do_it install -m 0644 "$here/$name" "$target.new~"
    do_it mv -f "$target.new~" "$target"
  done
  [ -z "$dest" ] || return 0
  try systemd-sysusers "$prefix/lib/sysusers.d/aalearn.conf"
  adopt
  try systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/aalearn.conf"
  if apparmor_on; then try apparmor_parser --replace --write-cache /etc/apparmor.d/aalearn; fi
  if systemd_runs; then try systemctl daemon-reload; fi
}

take_away() {
  if [ -z "$dest" ]; then
    if systemd_runs; then
      try systemctl disable --now aalearn.service aalearn-apply.socket
    fi
    if apparmor_on && [ -e /etc/apparmor.d/aalearn ]; then try apparmor_parser --remove /etc/apparmor.d/aalearn; fi
  fi
  files | while read -r _ target; do
    if [ -e "$dest$target" ]; then do_it rm -f "$dest$target"; fi
  done
  if [ -z "$dest" ] && systemd_runs; then try systemctl daemon-reload; fi
  printf 'setup.sh: /var/lib/aalearn, /var/lib/aalearn-apply, /etc/aalearn and the user aalearn stay\n' >&2
}

if [ -z "$dry$dest" ] && [ "$(id -u)" != 0 ]; then
  printf 'setup.sh: only root can do this: run it with sudo, or look first with --dry-run\n' >&2
  exit 3
fi
if [ -n "$remove" ]; then take_away; else place; fi
[ -z "$failed" ] || exit 3
