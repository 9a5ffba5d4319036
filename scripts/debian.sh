#!/usr/bin/env bash
# debian.sh boot|python: makes a Debian root, once, and prints its directory: one with systemd and cloud-init, for tests that boot
# machines in systemd-nspawn, or one with the newest Python that Debian has. It is .errand/boot/debian-<name>-<recipe>, elsewhere with
# ERRAND_BOOT=<directory>. Needs root on Linux; what it lacks besides it installs with apt-get. When the root cannot be had, the reason is the
# last line on stderr and the exit code is 1.
set -euo pipefail

name="${1:-}"
case "$name" in
boot) suite=bookworm packages=systemd,systemd-sysv,dbus,udev,cloud-init,iproute2,netbase,passwd,ca-certificates,python3 ;;
python) suite=forky packages=python3,python3-venv,procps ;;
*)
  echo "usage: debian.sh boot|python" >&2
  exit 2
  ;;
esac
root="${ERRAND_BOOT:-$(cd "$(dirname "$0")/.." && pwd)/.errand/boot}"
# Whatever is changed below makes another root.
home="$root/debian-$name-$(cksum <"${BASH_SOURCE[0]}" | cut -d' ' -f1)"
log="$root/debian-$name.log"

refuse() {
  echo "$1" >&2
  exit 1
}

[ "$(uname)" = Linux ] || refuse "only Linux boots machines in systemd-nspawn"
[ "$(id -u)" = 0 ] || refuse "only root may boot machines in systemd-nspawn"
unshare --net --mount true 2>/dev/null || refuse "this machine gives no namespaces: nothing boots in systemd-nspawn here"
mkdir -p "$root"

need() {
  command -v "$1" >/dev/null || [ -e "$1" ] && return
  command -v apt-get >/dev/null || refuse "$1 is missing, and there is no apt-get to install it with"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$2"; } >"$log" 2>&1 ||
    refuse "$1 is missing and cannot be installed: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
}

if [ "$name" = boot ]; then
  need systemd-nspawn systemd-container
  need ip iproute2
fi
[ -e "$home" ] && echo "$home" && exit

need mmdebstrap mmdebstrap
need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
part=$(mktemp -d "$root/part.XXXXXX")
trap 'rm -rf "$part"' EXIT
chmod 755 "$part"
# A mirror may be a snapshot of some day.
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' --include="$packages" "$suite" "$part" >"$log" 2>&1 ||
  refuse "a Debian root cannot be made: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
configure() {
  # As on EC2, but that a container does not look like one: what it is must be said. Of the rest, only what runs user-data.
  cat >"$part/etc/cloud/cloud.cfg.d/90-errand.cfg" <<'CONFIG'
datasource_list: [Ec2]
datasource: {Ec2: {strict_id: false, metadata_urls: ["http://169.254.169.254"], max_wait: 30, timeout: 5}}
network: {config: disabled}
cloud_init_modules: []
cloud_config_modules: []
cloud_final_modules: [scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user]
CONFIG
  # Nobody answers, and at once.
  rm -f "$part/etc/resolv.conf"
  echo "nameserver 127.0.0.1" >"$part/etc/resolv.conf"
  echo "policy: enabled" >"$part/etc/cloud/ds-identify.cfg"
}
[ "$name" = python ] || configure
mv "$part" "$home"
echo "$home"
