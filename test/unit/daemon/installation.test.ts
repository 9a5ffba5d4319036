import { describe, expect, it } from "vitest";
import { ensureInstallation } from "../../../src/daemon/installation.ts";
import { makeStore } from "../../support/memory-store.ts";

const owned = () => makeStore({ "errand.json": { format: 1, installation: "first" } });

describe("the installation of a bucket", () => {
  it("is the fresh id where nobody had the bucket, and stays it", async () => {
    const store = makeStore();
    expect(await ensureInstallation(store, "fresh")).toBe("fresh");
    expect(await ensureInstallation(store, "other")).toBe("fresh");
  });

  it("is the configured one where there is one", async () => {
    const store = makeStore();
    expect(await ensureInstallation(store, "fresh", "stack")).toBe("stack");
    expect(await ensureInstallation(store, "fresh", "stack")).toBe("stack");
  });

  it("refuses a bucket whose machines the daemon's rights do not reach", async () => {
    await expect(ensureInstallation(owned(), "fresh", "stack")).rejects.toMatchObject({
      name: "UserError",
      message: "the bucket belongs to the installation first, and the configuration says stack",
      hint: expect.stringContaining("InstallationId=first"),
    });
  });
});
