/** Ctrl-C and SIGTERM as a signal that waits can listen to. */

export type Interrupt = {
  readonly signal: AbortSignal;
  /** Which one it was. */
  readonly name: () => "SIGINT" | "SIGTERM" | undefined;
  /** Leaves the process as it was: the next Ctrl-C ends it. */
  readonly release: () => void;
};

export function listenForInterrupt(): Interrupt {
  const controller = new AbortController();
  let name: "SIGINT" | "SIGTERM" | undefined;
  const onSignal = (signal: "SIGINT" | "SIGTERM") => {
    // Asked twice: whatever we wait for is not worth it.
    if (controller.signal.aborted) process.exit(exitCodeOf(signal));
    name ??= signal;
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    name: () => name,
    release: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

/** What a shell reports for a process that such a signal ended. */
export const exitCodeOf = (name: "SIGINT" | "SIGTERM" | undefined): number =>
  name === "SIGTERM" ? 143 : 130;
