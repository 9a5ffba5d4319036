/** The two scripts that each local machine has: what boots it, and what stands in for `shutdown` and its like. */
import { COOKIE_VARIABLE, REAPER_VARIABLE, SWEEPER_VARIABLE } from "./machines-processes.ts";

/** Names of the power script in a machine's `bin`. The last four would otherwise reach the host's own systemd. */
export const POWER_NAMES = [
  "shutdown",
  "poweroff",
  "halt",
  "reboot",
  "systemctl",
  "systemd-run",
  "init",
  "telinit",
] as const;

/** Names the folder of what a machine runs at every boot after its first, as cloud-init's `scripts/per-boot` does. */
export const PER_BOOT_VARIABLE = "ERRAND_LOCAL_PER_BOOT";

/**
/**
 * Run as `sh boot FLAGS USER-DATA DISK`, and with `again` at a later boot. User-data runs once in a machine's life, whoever starts
 * it and however often: the one that creates `started` runs it. The copy is made here because a file that Node has just written
 * may still be open in a child that another spawn is forking, and Linux does not run such a file.
 */
export const BOOT_SCRIPT = `#!/bin/sh
folder=$1 user_data=$2 disk=$3
if [ "$4" = again ]; then
  echo "$$" >"$folder/started"
  echo "local cloud: booted again"
  for script in "$disk"/per-boot/*; do
    [ ! -x "$script" ] || "$script"
  done
  exit 0
fi
set -C
echo "$$" 2>/dev/null >"$folder/started" || exit 0
set +C
[ -s "$user_data" ] || exit 0
case $(head -c 2 "$user_data" | tr -d '\\000') in
'#!') ;;
*) echo "local cloud: the user-data is no script (no #! at its start) and was not run"; exit 0 ;;
esac
cp "$user_data" "$disk/user-data" && chmod 700 "$disk/user-data" || exit 1
exec "$disk/user-data"
`;

export type PowerOptions = {
  /** "<id>:<random>" */
  readonly cookie: string;
  /** Of the markers, and of the names of this script, as the machine sees them. */
  readonly folder: string;
  readonly bin: string;
  /** The machine's metadata service, `http://127.0.0.1:<port>/imds/…`. */
  readonly metadataEndpoint: string;
  /** The machine's first process ends all others, and nothing else is needed. */
  readonly hasInit: boolean;
};

/**
 * `poweroff`, `shutdown [-P] TIME`: the machine is powered off. The marker is written first, so that a cloud that is not
 * there now tells it after its next start; then the cloud is told, and whether or not it answers, a sweeper sees to it that
 * every process of the machine ends. `halt` ends the processes but not the billing, as on EC2: the instance stays running. `reboot`
 * does, too, and leaves a marker by which the cloud boots the machine again, without its user-data.
 */
export function renderPowerScript(options: PowerOptions): string {
  const { hostname, port, pathname } = new URL(options.metadataEndpoint);
  const header = [
    ["cookie", options.cookie],
    ["folder", options.folder],
    ["bin", options.bin],
    ["init", options.hasInit ? "1" : ""],
    ["cloud_host", hostname],
    ["cloud_port", port || "80"],
    ["cloud_path", `${pathname.replace(/\/$/, "")}/local/power-off`],
  ].map(([name, value = ""]) => `${name}=${quote(value)}`);
  return `#!/bin/bash\n${header.join("\n")}\n${POWER_SCRIPT}`;
}

const quote = (value: string): string => `'${value.replaceAll("'", "'\\''")}'`;

const POWER_SCRIPT = `
name=\${0##*/}

refuse() {
  echo "$name: $1" >&2
  exit 1
}

processes() {
  if [ -e /proc/self/environ ]; then
    grep -laF -- "${COOKIE_VARIABLE}=$cookie" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
  else
    ps -axo pid=,pgid= | awk -v group="$(cat "$folder/started")" '$2 == group { print $1 }'
  fi
}

# Run with the sweeper's variable in place of the cookie, so that it finds all of the machine but itself.
sweep() {
  sleep "$1"
  kill -TERM $(processes) 2>/dev/null
  for _ in {1..40}; do
    [ -z "$(processes)" ] && return
    sleep 0.05
  done
  for _ in {1..200}; do
    kill -KILL $(processes) 2>/dev/null
    sleep 0.05
    [ -z "$(processes)" ] && return
  done
}

# What keeps the processes together, where something does, finds those that this shell cannot.
find_reaper() {
  local pid
  pid=$(cat "$folder/reaper" 2>/dev/null) || return
  if grep -qaF -- "${REAPER_VARIABLE}=$cookie" "/proc/$pid/environ" 2>/dev/null; then init=$pid; fi
}

# In a process group of its own: whoever ends the caller's group does not end this.
start_sweeper() {
  set -m
  [ -n "$init" ] || find_reaper
  if [ -n "$init" ]; then
    { sleep "$1" && kill -USR1 "$init"; } </dev/null >/dev/null 2>&1 &
    return
  fi
  env -u ${COOKIE_VARIABLE} "${SWEEPER_VARIABLE}=$cookie" "$BASH" "$bin/poweroff" --local-sweep "$1" </dev/null >/dev/null 2>&1 &
}

tell_cloud() {
  {
    printf 'POST %s HTTP/1.1\\r\\nHost: %s:%s\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' \\
      "$cloud_path" "$cloud_host" "$cloud_port" >&3
    IFS=' ' read -r -t 2 -u 3 _ status _
  } 2>/dev/null 3<>"/dev/tcp/$cloud_host/$cloud_port"
  [ "$status" = 200 ]
}

power_off() {
  : >"$folder/power-off"
  # The cloud ends the processes itself; the sweeper is for a cloud that dies while it does.
  if tell_cloud 2>/dev/null; then start_sweeper 5; else start_sweeper 0; fi
  exit 0
}

end_processes() {
  start_sweeper 0
  exit 0
}

# The cloud ends the sweeper with all else when it boots the machine again.
boot_again() {
  : >"$folder/reboot"
  end_processes
}

schedule() {
  set -m
  (
    sleep $(($2 * 60))
    exec "$BASH" "$bin/$1"
  ) </dev/null >/dev/null 2>&1 &
  echo $! >"$folder/scheduled"
  exit 0
}

cancel_scheduled() {
  [ -s "$folder/scheduled" ] && kill -KILL -- "-$(cat "$folder/scheduled")" 2>/dev/null
  rm -f "$folder/scheduled"
  exit 0
}

parse_shutdown() {
  local action=poweroff when=+1
  while [ $# -gt 0 ]; do
    case $1 in
    -h | -P | --poweroff) action=poweroff ;;
    -H | --halt) action=halt ;;
    -r | --reboot) action=reboot ;;
    -c) cancel_scheduled ;;
    --no-wall) ;;
    -*) refuse "the local cloud does not know the option $1" ;;
    *)
      when=$1
      break
      ;;
    esac
    shift
  done
  case $when in
  now | 0 | +0)
    case $action in
    poweroff) power_off ;;
    reboot) boot_again ;;
    *) end_processes ;;
    esac
    ;;
  +[0-9]* | [0-9]*)
    local minutes=\${when#+}
    case $minutes in *[!0-9]*) refuse "the local cloud takes now or +MINUTES, not '$when'" ;; esac
    cancel_scheduled_quietly
    schedule "$action" "$((10#$minutes))"
    ;;
  *) refuse "the local cloud takes now or +MINUTES, not '$when'" ;;
  esac
}

cancel_scheduled_quietly() { (cancel_scheduled) >/dev/null 2>&1; }

parse_systemctl() {
  local word
  for word in "$@"; do
    case $word in
    poweroff) power_off ;;
    halt) end_processes ;;
    reboot | kexec | soft-reboot) boot_again ;;
    -*) ;;
    *) break ;;
    esac
  done
  # As systemd's own says it where it is not running. The host's may be, and is none of this machine's business.
  echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2
  exit 1
}

case $name in
poweroff)
  if [ "$1" = --local-sweep ]; then sweep "$2"; else power_off; fi
  ;;
shutdown) parse_shutdown "$@" ;;
halt | reboot)
  for word in "$@"; do
    case $word in -p | --poweroff) power_off ;; esac
  done
  if [ "$name" = reboot ]; then boot_again; fi
  end_processes
  ;;
init | telinit)
  case $1 in 0) power_off ;; 1) end_processes ;; 6) boot_again ;; *) refuse "the local cloud has no run level '$1'" ;; esac
  ;;
systemctl) parse_systemctl "$@" ;;
*)
  echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2
  exit 1
  ;;
esac
`;
