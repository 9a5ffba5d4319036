# What the user-data runs, below its header of assignments. It bounds what the machine can cost, then starts boot.py, which
# travels at the end of this script and brings the runner. On EC2 that is a systemd unit of its own, so that the boot goes on; on
# the local cloud, which sets AWS_EC2_METADATA_SERVICE_ENDPOINT, it takes the place of this shell.
# Bash 3.2 and Python 3.9 are enough. Lines that begin with a # are left out of the user-data.
set -u
umask 022
boot_cap_s=900

power_off() {
  echo "errand: $1: powering off"
  shutdown -P now || poweroff
  exit 1
}

# Billing ends at power-off alone, so the first act is a cap: power off unless an order is claimed in time.
if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && [ -z "${AWS_EC2_METADATA_SERVICE_ENDPOINT:-}" ]; then
  mode=machine base=/var/lib/errand cap=errand-boot-cap
  shutdown=$(command -v shutdown) || power_off "no shutdown on PATH"
  systemd-run --quiet --unit=$cap --on-active=$boot_cap_s --timer-property=AccuracySec=1s "$shutdown" -P now ||
    power_off "the boot cap cannot be set"
  # An image that runs its user-data at each boot, or one made of a machine of ours.
  [ -e $base ] && power_off "this is not the first boot"
  mkdir -p $base /run/errand
  # User-data runs once: at any later boot nobody would be there to power off. /run is empty then.
  cat >/etc/systemd/system/errand-later-boot.service <<UNIT
[Unit]
Description=Power off a machine that has had its one boot
ConditionPathExists=!/run/errand
[Service]
Type=oneshot
ExecStart=$shutdown -P now
[Install]
WantedBy=multi-user.target
UNIT
  systemctl --quiet enable errand-later-boot.service || power_off "later boots cannot be capped"
else
  mode=local
  # In a process group of its own, by which the runner cancels it. What this shell becomes may be killed, too.
  set -m
  (
    for ((s = 0; s < boot_cap_s; s += 5)); do
      kill -0 $$ && sleep 5 || break
    done
    shutdown -P now || poweroff
  ) </dev/null >/dev/null 2>&1 &
  cap=$!
  set +m
  if [ -n "${ERRAND_LOCAL_ROOT:-}" ]; then
    # Where a machine has it, so that the log is at one path below each root.
    base=${ERRAND_LOCAL_ROOT%/}/var/lib/errand
    mkdir -p "$base" || power_off "no room for the runner"
  else
    base=$(mktemp -d "${TMPDIR:-/tmp}/errand.XXXXXX") || power_off "no room for temporary files"
  fi
  # What the unit above is on EC2; a local machine runs what stands here at every boot after its first.
  if [ -d "${ERRAND_LOCAL_PER_BOOT:-}" ]; then
    printf '#!/bin/sh\nshutdown -P now || poweroff\n' >"$ERRAND_LOCAL_PER_BOOT/errand-later-boot"
    chmod +x "$ERRAND_LOCAL_PER_BOOT/errand-later-boot" || power_off "later boots cannot be capped"
  fi
fi
: >"$base/boot"

python=$(command -v python3) || power_off "no python3 on this image"
cat >"$base/payload" <<'PAYLOAD'
@PAYLOAD@
PAYLOAD
load='
import base64, os, sys, traceback, zlib
base = sys.argv[1]
try:
    if sys.version_info < (3, 9):
        raise SystemExit("errand: python3 is older than 3.9: powering off")
    with open(base + "/payload", "rb") as file:
        source = zlib.decompress(base64.b85decode(file.read().strip()))
    with open(base + "/boot.py", "wb") as file:
        file.write(source)
    sys.path.insert(0, base)
    import boot
    boot.main(*sys.argv[1:])
except BaseException:
    traceback.print_exc()
    os.system("shutdown -P now || poweroff")
'
set -- "$python" -c "$load" "$base" $mode "$cap" "$ERRAND_BUCKET" "$ERRAND_REGION" "$ERRAND_ENDPOINT" "$ERRAND_TOKEN" "$ERRAND_SCRIPT"
[ $mode = local ] && exec "$@"
systemd-run --quiet --collect --unit=errand-runner --property=OOMScoreAdjust=-1000 --property=KillMode=mixed \
  --property=OOMPolicy=continue --property=TasksMax=infinity --property=TimeoutStopSec=120 \
  --property=StandardOutput=journal+console --property=StandardError=journal+console \
  --property=After=network-online.target "--property=ExecStopPost=$shutdown -P now" "$@" ||
  power_off "the runner cannot be started"
