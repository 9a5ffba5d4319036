/**
 * The agent's side of one session: handshake, then the command until its end. As the official agent does, 0x03 from the client interrupts
 * the command, and ending the session kills its first process alone.
 */
import { type Command, type CommandOptions, OUTPUT, pass, pumpCommand } from "./session-command.ts";
import { type AgentKms, type Cipher, shakeHands } from "./session-handshake.ts";
import { createStream } from "./session-stream.ts";

export type AgentOptions = Pick<CommandOptions, "isSeparated" | "backlog" | "onPumpDead"> & {
  readonly version: string;
  readonly start: () => Command;
  readonly kms: AgentKms | undefined;
  readonly transmit: (frame: Buffer) => void;
  /** With what the service tells the client; empty when all is well. */
  readonly onEnd: (output: string) => void;
};

export type Agent = {
  receive(bytes: Buffer): void;
  /** The client is away, or back. */
  pause(isPaused: boolean): void;
  /** At once, without a word to the client. */
  kill(): void;
};

const HANDSHAKE_MAX_MS = 15_000;
const DRAIN_MAX_MS = 2_000;
const DRAIN_EVERY_MS = 10;

export function startAgent(options: AgentOptions): Agent {
  const state = { isPaused: false, isEnded: false };
  let command: Command | undefined;
  let cipher: Cipher | undefined;

  const stream = createStream({ transmit: options.transmit, onInput });
  const takeHandshake = shakeHands({
    version: options.version,
    kms: options.kms,
    send: stream.send,
    onDone: (agreed) => {
      clearTimeout(patience);
      cipher = agreed;
      void runCommand().catch((error: unknown) => end(`running the command: ${error}`));
    },
  });
  const patience = setTimeout(() => end("Handshake timed out."), HANDSHAKE_MAX_MS);

  function end(output: string): void {
    if (state.isEnded) return;
    kill();
    options.onEnd(output);
  }

  function kill(): void {
    state.isEnded = true;
    clearTimeout(patience);
    stream.stop();
    command?.kill("SIGKILL");
  }

  function onInput(payloadType: number, payload: Buffer): void {
    try {
      if (payloadType === OUTPUT) signal(cipher?.open(payload) ?? payload);
      else takeHandshake(payloadType, payload);
    } catch (error) {
      end(error instanceof Error ? error.message : String(error));
    }
  }

  function signal(bytes: Buffer): void {
    if (bytes.includes(3)) command?.kill("SIGINT");
    else if (bytes.includes(0x1c)) command?.kill("SIGQUIT");
  }

  async function runCommand(): Promise<void> {
    command = options.start();
    await pumpCommand(command, {
      ...options,
      isPaused: () => state.isPaused,
      send: (type, bytes) => {
        if (!state.isEnded) stream.send(type, cipher?.seal(bytes) ?? bytes);
      },
    });
    const until = Date.now() + DRAIN_MAX_MS;
    while (!stream.isAcknowledged() && Date.now() < until) await pass(DRAIN_EVERY_MS);
    end("");
  }

  return {
    receive: (bytes) => {
      if (!state.isEnded) stream.receive(bytes);
    },
    pause: (isPaused) => {
      state.isPaused = isPaused;
    },
    kill,
  };
}
