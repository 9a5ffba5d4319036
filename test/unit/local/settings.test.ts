import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DEFAULT_SETTINGS, readSettings } from "../../../src/local/settings.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "errand-settings-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const write = (text: string) => writeFile(join(directory, "settings.yaml"), text);

it("what is given goes before the file, the file before the defaults", async () => {
  await write("bootMs: 20000\nlistingLagMs: 2000\n");
  expect(await readSettings(directory, { bootMs: 5, throttling: undefined })).toEqual({
    ...DEFAULT_SETTINGS,
    bootMs: 5,
    listingLagMs: 2_000,
    throttling: true,
  });
});

it("no file, and an empty one, say nothing", async () => {
  const defaults = await readSettings(directory, {});
  await write("# nothing\n");
  expect(await readSettings(directory, {})).toEqual(defaults);
});

it.each([
  ["a setting that there is not", "bootTime: 20\n", /no setting bootTime, there are bootMs/],
  ["a value that is none", "bootMs: soon\n", /settings\.yaml.*bootMs: must be a number$/],
  ["a part of a millisecond", "bootMs: 1.5\n", /bootMs: must be a whole number$/],
  [
    "a kind that there is not",
    "sandbox: jail\n",
    /sandbox: must be one of auto, bwrap, unshare, none$/,
  ],
  ["no port", "allowLoopback: [80, 0]\n", /allowLoopback\.1: must be at least 1$/],
  ["a list", "- bootMs\n", /holds no settings/],
  ["what is no YAML", "bootMs: [\n", /reading .*settings\.yaml/],
])("refuses %s and says where", async (_, text, message) => {
  await write(text);
  await expect(readSettings(directory, {})).rejects.toThrow(message);
});
