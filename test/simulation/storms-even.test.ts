import { test } from "vitest";
import { playStorms } from "./storms.ts";

test("every run survives the storm, ends, and leaves nothing running: even seeds", () =>
  playStorms(0));
