/** Readable names and derived ids of runs. */
import { createHash } from "node:crypto";
import { runId } from "../core/layout.ts";
import type { ObjectInfo } from "../ports.ts";

const ADJECTIVES =
  "able bold brave brisk calm clear clever cool crisp daring eager early fair fast fine fleet fond fresh gentle glad grand happy keen kind light lively loyal lucky merry mild neat noble proud quick quiet rapid ready sharp smart solid sound spry steady still sunny swift tidy true warm wise witty young zesty".split(
    " ",
  );
const ANIMALS =
  "ant badger bat bear beaver bee bison camel cat condor crane crow deer dingo dove duck eagle eel elk falcon ferret finch fox frog gecko goat goose hare hawk heron horse ibex jay koala lark lemur lion llama lynx magpie marten mole moose moth mouse newt orca otter owl panda pony puffin quail rabbit raven robin salmon seal shrew sloth snail stork swan tiger toad trout turtle viper vole whale wolf wren yak zebra".split(
    " ",
  );

/** `brave-otter-42`, always the same for an id. */
export function runName(id: string): string {
  const hash = createHash("sha256").update(id).digest();
  const adjective = ADJECTIVES[hash.readUInt16BE(0) % ADJECTIVES.length];
  const animal = ANIMALS[hash.readUInt16BE(2) % ANIMALS.length];
  return `${adjective}-${animal}-${hash.readUInt16BE(4) % 100}`;
}

/** The id of a drop that brings none: always the same for a version of an object. */
export function derivedRunId(drop: Pick<ObjectInfo, "key" | "etag" | "modifiedAt">): string {
  const text = `${drop.key}\n${drop.etag}\n${drop.modifiedAt}`;
  return runId(new Date(drop.modifiedAt).toISOString(), suffixOf(text));
}

/** Six characters of a..z and 2..7 that stand for a text. */
function suffixOf(text: string): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const hash = createHash("sha256").update(text).digest();
  return Array.from(hash.subarray(0, 6), (byte) => alphabet[byte % 32]).join("");
}
