import { expect, test } from "vitest";
import { refusalOf, statementFor } from "../../../src/cli/doctor/finding.ts";
import { CloudError } from "../../../src/errors.ts";

test.each([
  [
    "You are not authorized to perform this operation. User: arn:aws:iam::1:user/a is not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:1:subnet/subnet-1 because no identity-based policy allows it",
    '{"Effect":"Allow","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:us-east-1:1:subnet/subnet-1"}',
  ],
  [
    'User: arn:aws:sts::1:assumed-role/d/s is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::b/errand.json" because of an explicit deny',
    '{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/errand.json"}',
  ],
  [
    "User: arn:aws:iam::1:user/a is not authorized to perform: ec2:DescribeImages",
    '{"Effect":"Allow","Action":"ec2:DescribeImages","Resource":"*"}',
  ],
  ["Access Denied", undefined],
])("the statement that is missing is read from AWS's words: %s", (words, statement) => {
  expect(statementFor(words)).toBe(statement);
});

test("a refusal fails with the statement, an AWS that is away with other words, and a bug is thrown", () => {
  const denied = "is not authorized to perform: ssm:GetParameters on resource: arn:aws:ssm:r:1:p";
  expect(refusalOf(new CloudError("refused", denied))).toMatchObject({
    verdict: "fail",
    cure: expect.stringContaining('"Action":"ssm:GetParameters"'),
  });
  expect(refusalOf(new CloudError("unavailable", "timed out"))).toMatchObject({
    cure: "Look at the network, and try again.",
  });
  expect(() => refusalOf(new TypeError("x"))).toThrow(TypeError);
});
