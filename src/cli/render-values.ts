/** Values as people read them. */

/** "350 ms", "12.3 s", "2m 05s", "1h 02m", "3d 4h"; "-" where there is none. */
export function formatDuration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "-";
  if (ms < 999.5) return `${Math.round(Math.max(0, ms))} ms`;
  // What rounds to a minute is one.
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${twoDigits(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h ${twoDigits(minutes % 60)}m`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const twoDigits = (value: number): string => String(value).padStart(2, "0");

/** Dollars: cents for what has cents, four digits for what is less than a dime. */
export function formatUsd(usd: number): string {
  return `$${usd.toFixed(usd !== 0 && Math.abs(usd) < 0.1 ? 4 : 2)}`;
}

/** Dollars an hour, four digits below ten as AWS lists them. */
export const formatHourlyUsd = (usd: number): string => `$${usd.toFixed(usd < 10 ? 4 : 2)}/h`;

/** Decimal units: "812 B", "4.1 kB", "2.66 MB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

export const formatCount = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;

/** "just now", "5 minutes ago", "yesterday" is left to the reader: "1 day ago". */
export function formatAgo(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${formatCount(minutes, "minute")} ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${formatCount(hours, "hour")} ago`;
  return `${formatCount(Math.floor(hours / 24), "day")} ago`;
}

/** "14:03:21", by the reader's own clock and zone. */
export function formatTime(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
}

/** Text of others in one line of ours: control characters, which could move the cursor, become visible. */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return " ";
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
