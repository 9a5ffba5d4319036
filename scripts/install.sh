#!/usr/bin/env bash
# Installs the daemon as a systemd service on Amazon Linux 2023, Ubuntu and Debian, from an unpacked release or a clone.
#   install.sh               installs, or upgrades: the service is restarted, jobs go on
#   install.sh --rollback    back to the release before
#   install.sh --uninstall   takes away all but /etc/errand and /var/lib/errand; with --purge those, too
# With --no-start nothing is started or restarted.
set -euo pipefail

PREFIX=/opt/errand
CONFIG=/etc/errand/errand.yaml
UNIT=/etc/systemd/system/errand.service
KEPT_RELEASES=3
source_directory=$(cd "$(dirname "$0")/.." && pwd)

fail() { # what, cure
  printf 'install: %s\n%s\n' "$1" "${2:+  $2}" >&2
  exit 1
}
say() { printf 'install: %s\n' "$*"; }

# systemd may be installed and not run, as in the build of an image: then units are only put in place.
is_booted() { [ -d /run/systemd/system ]; }

action=install start=yes purge=no
for word in "$@"; do
  case $word in
    --rollback) action=rollback ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --no-start) start=no ;;
    -h | --help)
      sed -n '2,6s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) fail "there is no option $word" "See install.sh --help." ;;
  esac
done
[ "$(id -u)" = 0 ] || fail "only root installs a service" "Run it by sudo."
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
command -v systemctl > /dev/null || fail "this host has no systemd" "Run errand daemon by what starts services here; docs/operations.md says what it needs."

# The system's own Node, or a copy where it lies in somebody's home, which the service cannot see.
find_node() {
  local node
  node=$(command -v "${ERRAND_NODE:-node}" || true)
  [ -n "$node" ] || fail "there is no node on the PATH" "$(node_cure)"
  node=$("$node" -p process.execPath)
  "$node" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
    || fail "$node is $("$node" --version); Errand needs 20.19 or newer" "$(node_cure)"
  printf '%s' "$node"
}
node_cure() {
  if command -v dnf > /dev/null; then echo "Install it: dnf install nodejs20. Or name one by ERRAND_NODE."
  else echo "Install one of nodejs.org, or your distribution's if that is new enough, or name one by ERRAND_NODE."; fi
}

make_user() {
  id errand > /dev/null 2>&1 && return
  local shell=/usr/sbin/nologin
  [ -x $shell ] || shell=/sbin/nologin
  useradd --system --user-group --home-dir /var/lib/errand --no-create-home --shell $shell errand
  say "made the user errand"
}

# Prints the directory of a release, made from a clone where it is none yet.
find_release() {
  if [ -e "$source_directory/.release" ]; then
    printf '%s' "$source_directory"
    return
  fi
  say "packing a release of this clone" >&2
  bash "$source_directory/scripts/package.sh" "$work" > /dev/null
  tar -xzf "$work"/errand-*.tar.gz -C "$work"
  printf '%s' "$work"/errand-*/
}

put_release() {
  local node release version
  node=$(find_node)
  release=$(find_release)
  version=$("$node" -p 'require(process.argv[1] + "/package.json").version' "$release")
  name="$version-$(date -u +%Y%m%dT%H%M%SZ)"
  mkdir -p "$PREFIX/releases"
  # Under another name until it is whole.
  local fresh="$PREFIX/releases/.$name"
  rm -rf "$PREFIX"/releases/.[0-9]*
  cp -R "$release" "$fresh"
  mkdir -p "$fresh/bin"
  case $node in
    /root/* | /home/*)
      cp "$node" "$fresh/bin/node"
      say "copied $node, which the service could not reach in a home"
      node=$PREFIX/releases/$name/bin/node
      ;;
  esac
  cat > "$fresh/bin/errand" << END
#!/bin/sh
exec $node $PREFIX/releases/$name/dist/src/cli/main.js "\$@"
END
  chmod 755 "$fresh/bin/errand"
  chown -R root:root "$fresh"
  chmod -R go-w,a+rX "$fresh"
  mv "$fresh" "$PREFIX/releases/$name"
}

# `current` changes in one step: there is no moment without it.
switch_to() {
  ln -sfn "$PREFIX/releases/$1" "$PREFIX/.current"
  mv -T "$PREFIX/.current" "$PREFIX/current"
}

put_configuration() {
  install -d -m 755 /etc/errand
  if [ ! -e $CONFIG ]; then
    cat > $CONFIG << 'END'
# Errand's configuration; docs/cli.md lists all settings. `errand init --stack NAME --config /etc/errand/errand.yaml` writes it from a stack.
# region: us-east-1
# bucket: my-errand-bucket
# queueUrl: https://…
END
    say "wrote $CONFIG, to be filled in"
  fi
  if [ ! -e /etc/errand/environment ]; then
    # Credentials may come to stand here: for root alone, who starts the service.
    (umask 077 && echo "ERRAND_METRICS_PORT=9467" > /etc/errand/environment)
  fi
  # Of the operator; the service reads it, and the group.
  chown root:errand $CONFIG
  chmod 640 $CONFIG
}

put_unit() {
  install -m 644 "$PREFIX/current/scripts/errand.service" $UNIT
  ln -sfn $PREFIX/current/bin/errand /usr/local/bin/errand
  if is_booted; then systemctl daemon-reload; fi
  systemctl --quiet enable errand.service
}

is_configured() { grep -qE '^[^#]*bucket"?:' $CONFIG; }

start_service() {
  if [ $start = no ] || ! is_booted; then
    say "not started; systemctl start errand does"
  elif ! is_configured; then
    say "next: fill in $CONFIG (errand init --stack NAME --config $CONFIG), then systemctl start errand"
  else
    # Waits until the daemon says that it is ready.
    systemctl restart errand.service || fail "the service does not start" "journalctl -u errand -n 50 says why."
    say "errand.service is up: $(systemctl show -p StatusText --value errand.service)"
  fi
}

# The newest first.
releases() { (cd $PREFIX/releases 2> /dev/null && ls -1t) || true; }

drop_old_releases() {
  local current each
  current=$(basename "$(readlink $PREFIX/current)")
  for each in $(releases | grep -vFx "$current" | tail -n +$KEPT_RELEASES); do rm -rf "${PREFIX:?}/releases/$each"; done
}

case $action in
  install)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    make_user
    put_release
    switch_to "$name"
    put_configuration
    put_unit
    start_service
    drop_old_releases
    say "$($PREFIX/current/bin/errand --version) is in $PREFIX/releases/$name"
    ;;
  rollback)
    current=$(basename "$(readlink $PREFIX/current 2> /dev/null)" 2> /dev/null) || fail "nothing is installed"
    before=$(releases | grep -vFx "$current" | head -1)
    [ -n "$before" ] || fail "there is no release before $current"
    switch_to "$before"
    put_unit
    start_service
    say "back from $current to $before"
    ;;
  uninstall)
    if is_booted; then systemctl --quiet disable --now errand.service 2> /dev/null || true; else systemctl --quiet disable errand.service 2> /dev/null || true; fi
    rm -f $UNIT /usr/local/bin/errand
    if is_booted; then systemctl daemon-reload; fi
    rm -rf $PREFIX
    if [ $purge = yes ]; then
      rm -rf /etc/errand /var/lib/errand
      userdel errand 2> /dev/null || true
    fi
    say "gone. Jobs that run go on to their end, and their machines end themselves; the bucket keeps everything"
    ;;
esac
