import { describe, expect, it } from "vitest";
import { renderStackConfig } from "../../../src/cli/stack-config.ts";
import { parseConfig } from "../../../src/config.ts";
import { readTemplate } from "../../support/template.ts";

const OUTPUTS = {
  Format: "errand/1",
  Bucket: "errand-123456789012-eu-west-1",
  QueueUrl: "https://sqs.eu-west-1.amazonaws.com/123456789012/errand-Queue-1",
  InstanceProfile: "errand-InstanceProfile-1",
  SecurityGroupId: "sg-0a1b",
  SubnetIds: "subnet-0a1b,subnet-0c2d",
  Installation: "11111111-2222-3333-4444-555555555555",
};
const place = { stack: "errand", region: "eu-west-1" };

const stack = (outputs: object = OUTPUTS, status = "CREATE_COMPLETE", reason = "") => ({
  status,
  reason,
  outputs: new Map(Object.entries(outputs)),
});

describe("the configuration from a stack", () => {
  it("says all that the daemon needs, and the schema takes it", () => {
    const text = renderStackConfig(stack(), place);
    expect(parseConfig({ file: { name: "errand.yaml", text } })).toMatchObject({
      region: "eu-west-1",
      bucket: OUTPUTS.Bucket,
      queueUrl: OUTPUTS.QueueUrl,
      installation: OUTPUTS.Installation,
      instanceProfile: OUTPUTS.InstanceProfile,
      securityGroupIds: ["sg-0a1b"],
      subnets: [{ subnetId: "subnet-0a1b" }, { subnetId: "subnet-0c2d" }],
    });
  });

  it("reads outputs that the template has", () => {
    const { outputs } = readTemplate();
    expect(Object.keys(outputs)).toEqual(expect.arrayContaining(Object.keys(OUTPUTS)));
    expect(outputs.Format?.Value).toBe(OUTPUTS.Format);
  });

  it("writes what the template's own host writes", () => {
    const userData = String(
      readTemplate({ DaemonHostType: "t4g.small" }).properties("DaemonHost")?.UserData,
    );
    const [, text = ""] = /<<'CONFIG'\n([\s\S]*?)\nCONFIG/.exec(userData) ?? [];
    const keys = (yaml: string) => [...yaml.matchAll(/^(\w+):/gm)].map(([, name]) => name).sort();
    expect(keys(text)).toEqual(keys(renderStackConfig(stack(), place)));
  });

  it.each(["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])(
    "takes a stack that is %s",
    (status) => {
      expect(renderStackConfig(stack(OUTPUTS, status), place)).toContain("bucket: ");
    },
  );

  it.each<[string, ReturnType<typeof stack>, string]>([
    [
      "one that was rolled back",
      stack({}, "ROLLBACK_COMPLETE", "Bucket exists"),
      "the stack errand is ROLLBACK_COMPLETE: Bucket exists",
    ],
    [
      "one that is being made",
      stack({}, "CREATE_IN_PROGRESS"),
      "the stack errand is CREATE_IN_PROGRESS",
    ],
    [
      "one of something else",
      stack({ Url: "x" }),
      "the stack errand was not made from infra/errand.yaml",
    ],
    [
      "one of another version",
      stack({ ...OUTPUTS, Format: "errand/2" }),
      "the stack errand has outputs of the format errand/2, and this version reads errand/1",
    ],
    [
      "one that lacks an output",
      stack({ ...OUTPUTS, QueueUrl: "" }),
      "the stack errand has no output QueueUrl",
    ],
  ])("refuses %s", (_, given, message) => {
    expect(() => renderStackConfig(given, place)).toThrow(message);
  });
});
