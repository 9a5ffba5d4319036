import { describe, expect, it } from "vitest";
import { createLiveView } from "../../../src/cli/live-view.ts";

/** What a terminal shows after these writes: enough of one for a block that is redrawn. */
function screenOf(written: string): string[] {
  const lines = [""];
  let row = 0;
  for (const part of written.split(/(\n|\p{Cc}\[\d*[A-Z]|\r)/u)) {
    const [, count, code] = /\[(\d*)([A-Z])$/.exec(part) ?? [];
    if (code === "A") row -= Number(count);
    else if (code === "J") lines.splice(row, lines.length, "");
    else if (part === "\n") row += 1;
    else lines[row] = (lines[row] ?? "") + part.replace("\r", "");
  }
  return lines;
}

describe("the live view", () => {
  it("keeps its block below what is printed", () => {
    const writes: string[] = [];
    const live = createLiveView((part) => void writes.push(part));
    live.draw(["run", "  a waiting"]);
    live.print(["a | one"]);
    live.draw(["run", "  a running", "  b waiting"]);
    live.print(["a | two", "a | three"]);
    live.draw(["done"]);
    expect(screenOf(writes.join(""))).toEqual(["a | one", "a | two", "a | three", "done", ""]);
  });

  it("leaves nothing of its block when it is cleared", () => {
    const writes: string[] = [];
    const live = createLiveView((part) => void writes.push(part));
    live.draw(["run", "  a running"]);
    live.clear();
    expect(screenOf(writes.join(""))).toEqual([""]);
  });

  it("writes nothing for a frame that has not changed", () => {
    const writes: string[] = [];
    const live = createLiveView((part) => void writes.push(part));
    live.draw(["run"]);
    live.draw(["run"]);
    expect(writes).toHaveLength(1);
  });
});
