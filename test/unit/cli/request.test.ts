import path from "node:path";
import { describe, expect, it } from "vitest";
import { chooseRunId, dropKey, dropMetadata } from "../../../src/cli/drop.ts";
import { readAsked } from "../../../src/cli/request.ts";
import { readRequest } from "../../../src/daemon/compile-drop.ts";
import { makeDirectory } from "../../support/directory.ts";

const none = {};
const project = () => makeDirectory({ ".dstack/workflows.yaml": "" });

describe("the words of submit", () => {
  it("are a directory, workflows and variables, in any order", async () => {
    const directory = await project();
    const words = [
      "--epochs",
      "3",
      directory,
      "--url=http://x/?a=b",
      "train",
      "--rate",
      "-0.5",
      "eval",
    ];
    expect(await readAsked(words, none)).toEqual({
      directory,
      request: {
        workflows: ["train", "eval"],
        variables: { epochs: "3", url: "http://x/?a=b", rate: "-0.5" },
      },
    });
  });

  it("may set by --var what is called like an option", async () => {
    const directory = await project();
    const { request } = await readAsked([directory], {
      var: ["json=a=b", "tag="],
      tag: "latest",
    });
    expect(request).toEqual({ workflows: [], variables: { json: "a=b", tag: "" }, tag: "latest" });
  });

  it.each([
    [["--epochs"], "--epochs has no value"],
    [["--epochs", "--rate", "1"], "--epochs has no value"],
    [["-x"], 'there is no option "-x"'],
  ])("%j are refused", async (words, message) => {
    const directory = await project();
    await expect(readAsked([directory, ...words], none)).rejects.toThrow(message);
  });

  it("that look like a misspelt option are told as one", async () => {
    const optionNames = ["--local", "--detach"];
    const asked = readAsked([await project(), "--locla"], { optionNames });
    await expect(asked).rejects.toMatchObject({
      message: "--locla has no value",
      hint: 'Did you mean "--local"?',
    });
  });

  it("are refused where --var has no value", async () => {
    await expect(readAsked([await project()], { var: ["epochs"] })).rejects.toThrow(
      '--var "epochs" names no value',
    );
  });

  it("are refused, with the cure, where no project is", async () => {
    const empty = await makeDirectory();
    await expect(readAsked([empty], none)).rejects.toThrow(`"${empty}" has no .dstack folder`);
    await expect(readAsked([path.join(empty, "nowhere")], none)).rejects.toThrow(
      "there is no directory",
    );
  });
});

describe("a drop", () => {
  const run = chooseRunId(Date.parse("2026-11-23T21:15:30.999Z"));

  it("has the time of its submission in its id", () => {
    expect(run).toMatch(/^20261123-211530-[a-z2-7]{6}$/);
  });

  it("names its workflow in its key when it is one", () => {
    const variables = {};
    expect(dropKey(run, { workflows: ["train"], variables })).toBe(`drops/train/${run}.tar.gz`);
    expect(dropKey(run, { workflows: [], variables })).toBe(`drops/${run}.tar.gz`);
    expect(dropKey(run, { workflows: ["a", "b"], variables })).toBe(`drops/${run}.tar.gz`);
  });

  it.each([
    ["one workflow", { workflows: ["train"], variables: {} }],
    ["two workflows", { workflows: ["a", "b"], variables: {} }],
    ["any text", { workflows: ["train"], variables: { url: "ü\n%=,", empty: "" }, tag: "latest" }],
  ])("is understood by intake as it was meant: %s", (_, request) => {
    const [only] = request.workflows.length === 1 ? request.workflows : [];
    expect(readRequest(dropMetadata(request), only)).toEqual(request);
  });

  it.each([
    ["its folder says c, its metadata workflow says b", { workflow: "b" }],
    ["its folder says c, its metadata workflow says c, b", { workflow: "c,b" }],
    [
      "its metadata errand-request says b, its folder says c",
      dropMetadata({ workflows: ["b"], variables: { n: "1" } }),
    ],
  ])("is refused when %s", (told, metadata) => {
    expect(() => readRequest(metadata, "c")).toThrow(
      `the drop contradicts itself about what is to be run: ${told}`,
    );
  });

  it("may say the same twice", () => {
    expect(readRequest({ workflow: "c" }, "c").workflows).toEqual(["c"]);
    expect(readRequest({ workflow: "b, c" }, undefined).workflows).toEqual(["b", "c"]);
  });

  it("is refused when its variables are longer than S3 takes", () => {
    const request = { workflows: [], variables: { text: "x".repeat(2_000) } };
    expect(() => dropMetadata(request)).toThrow("too long to send with a bundle");
  });
});
