/** Readable names and derived ids of runs. */
import { createHash } from "node:crypto";

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

/** Six characters of a..z and 2..7 that stand for a text. */
export function suffixOf(text: string): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const hash = createHash("sha256").update(text).digest();
  return Array.from(hash.subarray(0, 6), (byte) => alphabet[byte % 32]).join("");
}
