/** The values of options, from text. Each throws for what is none, and says what would be one. */
import { InvalidArgumentError } from "commander";

export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is no whole number from 1 on.");
}

export function countOrNone(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is no whole number from 0 on.");
}

export function milliseconds(text: string): number {
  if (/^\d{1,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is no number of milliseconds: 0 to 86400000.");
}

export function portNumber(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError("it is no port: 0 to 65535.");
}

export const portNumbers = (text: string): number[] =>
  text.split(",").map((each) => {
    if (/^[1-9]\d{0,4}$/.test(each) && Number(each) <= 65_535) return Number(each);
    throw new InvalidArgumentError("write ports from 1 to 65535, as in 8000,8001.");
  });
