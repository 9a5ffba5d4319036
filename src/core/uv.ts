/**
 * uv, which brings Pythons and packages to machines: the one version that a machine fetches where it has none of its own, known by
 * the sha256 of its executable, whichever way it comes. The sums are those of the wheels of this version, whose executable
 * is the one that the releases of its maker hold; one that differs is refused.
 */
import { z } from "zod";

export const uvPinSchema = z.strictObject({
  version: z.string(),
  /** By system and machine, as `uname` names them: "linux-x86_64". */
  targets: z.record(
    z.string(),
    z.strictObject({ sha256: z.string(), /** A tar.gz that holds it. */ url: z.string() }),
  ),
});
export type UvPin = z.infer<typeof uvPinSchema>;

const VERSION = "0.13.9";

const release = (triple: string): string =>
  `https://github.com/astral-sh/uv/releases/download/${VERSION}/uv-${triple}.tar.gz`;

export const UV: UvPin = {
  version: VERSION,
  targets: {
    "linux-x86_64": {
      sha256: "b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a",
      url: release("x86_64-unknown-linux-gnu"),
    },
    "linux-aarch64": {
      sha256: "bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4",
      url: release("aarch64-unknown-linux-gnu"),
    },
    "darwin-x86_64": {
      sha256: "9d275208c058354f9b300ea46a499c7a29de3249ae839503cadff2c01c159d69",
      url: release("x86_64-apple-darwin"),
    },
    "darwin-arm64": {
      sha256: "0e17c316d23b33b4e840669f516f5cb7f5c1faa816ebd3824052ab50082ecefb",
      url: release("aarch64-apple-darwin"),
    },
  },
};

/** `tools/python/<major.minor>-<target>.json`: an interpreter that an operator put into the bucket. */
export const pythonBuildSchema = z.strictObject({
  format: z.literal(1),
  /** With the patch level, as "3.10.22". */
  version: z.string(),
  /** The object `tools/python/<archive>`. */
  archive: z.string(),
  sha256: z.string(),
});
export type PythonBuild = z.infer<typeof pythonBuildSchema>;
