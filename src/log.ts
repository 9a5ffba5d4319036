/**
 * The log: lines on stderr, as JSON for machines or as text for people. A message is a constant in
 * the past tense; what varies stands in fields. Secrets and launch bodies are never fields.
 */
import winston from "winston";
import { describeError } from "./errors.ts";

export type LogFields = Readonly<Record<string, unknown>>;

/** What everything that logs asks for; tests pass their own. */
export type Log = {
  readonly debug: (message: string, fields?: LogFields) => void;
  readonly info: (message: string, fields?: LogFields) => void;
  readonly warn: (message: string, fields?: LogFields) => void;
  readonly error: (message: string, fields?: LogFields) => void;
};

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogOptions = {
  readonly level: LogLevel;
  readonly format: "json" | "text";
  /** Where lines go; stderr by default, because stdout belongs to what a command answers. */
  readonly stream?: NodeJS.WritableStream;
};

export function createLog({ level, format, stream = process.stderr }: LogOptions): Log {
  const logger = winston.createLogger({
    level: level === "silent" ? "error" : level,
    silent: level === "silent",
    format: winston.format.combine(
      winston.format.timestamp(),
      format === "json" ? winston.format.json() : winston.format.printf(textLine),
    ),
    transports: [new winston.transports.Stream({ stream })],
  });
  return {
    debug: (message, fields) => void logger.debug(message, inOne(fields)),
    info: (message, fields) => void logger.info(message, inOne(fields)),
    warn: (message, fields) => void logger.warn(message, inOne(fields)),
    error: (message, fields) => void logger.error(message, inOne(fields)),
  };
}

/**
 * winston appends a field called `message` to the message, and takes over `level`: both get another name. An error
 * would be `{}` in JSON: its chain of messages stands for it.
 */
function inOne(fields: LogFields = {}): Record<string, unknown> {
  const renamed: Readonly<Record<string, string>> = { message: "text", level: "atLevel" };
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      renamed[name] ?? name,
      value instanceof Error ? describeError(value) : value,
    ]),
  );
}

function textLine({ timestamp, level, message, ...fields }: winston.Logform.TransformableInfo) {
  const values = Object.entries(fields).map(([name, value]) => `${name}=${textOf(value)}`);
  return [timestamp, level, message, ...values].join(" ");
}

/** A value that one can read back: quoted where it holds anything but plain characters. */
function textOf(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value) ?? "undefined";
  return /^[\w.:/@+,-]+$/.test(value) ? value : JSON.stringify(value);
}
