import { expect, test } from "vitest";
import { createPulse } from "../../../src/daemon/pulse.ts";
import { CloudError } from "../../../src/errors.ts";
import { Bucket } from "../../support/bucket.ts";
import { MINUTE, makeRun, makeStarted } from "../../support/make.ts";

const HEARTBEAT_MS = 30_000;

function makePulse() {
  const clock = { at: 0 };
  const bucket = new Bucket(() => clock.at);
  let calls = 0;
  let isDown = false;
  const store = new Proxy(bucket, {
    get: (target, name) => {
      if (name !== "findInfo") return Reflect.get(target, name);
      return async (key: string) => {
        calls += 1;
        if (isDown) throw new CloudError("unavailable", "S3 is down");
        return target.findInfo(key);
      };
    },
  });
  const run = makeRun([makeStarted({ started: { at: 0, bootMs: 0 } })]);
  const beat = (text: string) => bucket.write(`runs/${run.id}/train/1/heartbeat.json`, text);
  const pulse = createPulse(store, HEARTBEAT_MS);
  const feelAt = async (minutes: number) => {
    clock.at = minutes * MINUTE;
    return [...(await pulse.feel([run], clock.at)).values()];
  };
  const setDown = (is: boolean) => {
    isDown = is;
  };
  return { beat, feelAt, setDown, callCount: () => calls };
}

test("a heartbeat that stays the same is told of after twenty were missing, since it was first seen so", async () => {
  const { beat, feelAt } = makePulse();
  beat("1");
  expect(await feelAt(6)).toEqual([]);
  beat("2");
  expect(await feelAt(8)).toEqual([]);
  expect(await feelAt(18)).toEqual([]);
  expect(await feelAt(19)).toEqual([8 * MINUTE]);
  beat("3");
  expect(await feelAt(20)).toEqual([]);
});

test("nobody is looked at in its first minutes, nor more often than once a minute", async () => {
  const { beat, feelAt, callCount } = makePulse();
  beat("1");
  for (const minutes of [1, 3, 5, 6, 6.2, 6.4, 7]) await feelAt(minutes);
  expect(callCount()).toBe(2);
});

test("a machine that never gave a sign is not told of", async () => {
  const { feelAt } = makePulse();
  for (const minutes of [6, 60, 600]) expect(await feelAt(minutes)).toEqual([]);
});

test("while S3 does not answer us, nobody is quiet", async () => {
  const { beat, feelAt, setDown } = makePulse();
  beat("1");
  await feelAt(6);
  setDown(true);
  expect(await feelAt(30)).toEqual([]);
  setDown(false);
  expect(await feelAt(32)).toEqual([]);
  expect(await feelAt(41)).toEqual([30 * MINUTE]);
});
