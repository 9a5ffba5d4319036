import { describe, expect, it } from "vitest";
import { createEc2Throttle } from "../../../src/local/ec2-throttle.ts";
import { createSsmThrottle } from "../../../src/local/ssm-throttle.ts";

/** How many of a burst pass. */
function countPassed(call: () => void): number {
  for (let passed = 0; passed < 2_000; passed += 1) {
    try {
      call();
    } catch {
      return passed;
    }
  }
  return Number.POSITIVE_INFINITY;
}

describe("EC2", () => {
  it.each([
    ["RunInstances", "MaxCount=1", 5],
    ["TerminateInstances", "InstanceId.1=i-1", 100],
    ["CreateTags", "ResourceId.1=i-1", 100],
    ["DescribeInstances", "", 50],
    ["DescribeInstances", "InstanceId.1=i-1", 50],
    ["DescribeInstances", "Filter.1.Name=instance-id&Filter.1.Value.1=i-1", 100],
    ["DescribeInstances", "MaxResults=5", 100],
    ["DescribeSubnets", "", 100],
    ["GetConsoleOutput", "InstanceId=i-1", 100],
    ["RebootInstances", "InstanceId.1=i-1", 50],
  ])("lets a burst of %s with %s pass %i times", (action, form, most) => {
    const throttle = createEc2Throttle(() => 0);
    expect(countPassed(() => throttle(action, new URLSearchParams(form)))).toBe(most);
  });

  it.each([
    ["RunInstances", 2],
    ["TerminateInstances", 5],
    ["CreateTags", 10],
    ["DescribeInstances", 10],
    ["DescribeImages", 20],
  ])("lets %s pass %i times a second after that", (action, perSecond) => {
    let now = 0;
    const throttle = createEc2Throttle(() => now);
    const burst = () => countPassed(() => throttle(action, new URLSearchParams("MaxCount=1")));
    burst();
    now += 1_000;
    expect(burst()).toBe(perSecond);
  });

  it("counts what is launched, too: a thousand at once, then two a second", () => {
    let now = 0;
    const throttle = createEc2Throttle(() => now);
    const launch = (count: number) => () =>
      throttle("RunInstances", new URLSearchParams({ MaxCount: String(count) }));
    launch(1_000)();
    expect(launch(1)).toThrow("Request limit exceeded");
    now += 1_000;
    expect(launch(3)).toThrow("Request limit exceeded");
    expect(launch(2)).not.toThrow();
  });

  it("counts what is terminated, too", () => {
    const throttle = createEc2Throttle(() => 0);
    const ids = (count: number) =>
      new URLSearchParams(
        Object.fromEntries(Array.from({ length: count }, (_, at) => [`InstanceId.${at + 1}`, "i"])),
      );
    throttle("TerminateInstances", ids(999));
    expect(() => throttle("TerminateInstances", ids(2))).toThrow("Request limit exceeded");
    expect(() => throttle("TerminateInstances", ids(1))).not.toThrow();
  });

  it("counts actions apart from each other", () => {
    const throttle = createEc2Throttle(() => 0);
    countPassed(() => throttle("RunInstances", new URLSearchParams("MaxCount=1")));
    expect(() =>
      throttle("TerminateInstances", new URLSearchParams("InstanceId.1=i")),
    ).not.toThrow();
  });
});

describe("SSM", () => {
  it.each([
    ["StartSession", 3],
    ["TerminateSession", 6],
    ["GetConnectionStatus", 50],
    ["GetParameter", 40],
  ])("lets a burst of %s pass %i times", (operation, most) => {
    const throttle = createSsmThrottle(() => 0);
    expect(countPassed(() => throttle(operation))).toBe(most);
  });

  it("counts GetParameter and GetParameters together", () => {
    const throttle = createSsmThrottle(() => 0);
    countPassed(() => throttle("GetParameters"));
    expect(() => throttle("GetParameter")).toThrow("Rate exceeded");
  });

  it("does not count what it does not know", () => {
    const throttle = createSsmThrottle(() => 0);
    expect(countPassed(() => throttle("constructor"))).toBe(Number.POSITIVE_INFINITY);
  });
});
