/** How a figure is shown: its median and its worst, with the aim where there is one. */

export function print(what: string, timesMs: readonly number[], aimMs?: number): void {
  const times = timesMs.filter((time) => !Number.isNaN(time)).toSorted((a, b) => a - b);
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  const digits = at(0.5) < 10 ? 2 : 0;
  const aim = aimMs === undefined ? "" : `, aim ${aimMs} ms`;
  const lost = timesMs.length - times.length;
  const missing = lost > 0 ? `, ${lost} not measured` : "";
  console.log(
    `${what}: median ${at(0.5).toFixed(digits)} ms, p99 ${at(0.99).toFixed(digits)} ms (${times.length}${aim}${missing})`,
  );
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
