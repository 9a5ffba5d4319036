/** The form of EC2's Query protocol: read strictly, refused with the parameter's name. */
import { expect, it } from "vitest";
import { z } from "zod";
import { filters, flag, integer, list, parseForm, text } from "../../../src/local/ec2-form.ts";

const schema = z.strictObject({
  ImageId: text,
  Count: integer.optional(),
  DryRun: flag.optional(),
  Filter: filters.optional(),
  Disk: list(z.strictObject({ Ebs: z.strictObject({ Size: integer }) })).optional(),
});

const parse = (body: string) => parseForm(schema, new URLSearchParams(body));

it("reads lists in the order of their numbers, not of their arrival", () => {
  const body = "ImageId=a&Filter.10.Name=z&Filter.2.Name=b&Filter.2.Value.2=y&Filter.2.Value.1=x";
  expect(parse(body)).toEqual({
    ImageId: "a",
    Filter: [{ Name: "b", Value: ["x", "y"] }, { Name: "z" }],
  });
});

it.each([
  ["ImageId=a&Disks.1.Ebs.Size=1", "UnknownParameter", "does not know Disks"],
  ["ImageId=a&Disk.1.Ebs.Kind=1&Disk.1.Ebs.Size=1", "UnknownParameter", "Disk.1.Ebs.Kind"],
  ["ImageId=a&__proto__.x=1", "UnknownParameter", "__proto__"],
  ["Count=1", "MissingParameter", "ImageId"],
  ["ImageId=a&Disk.1.Ebs.Size=large", "InvalidParameterValue", "Disk.1.Ebs.Size"],
  ["ImageId=a&DryRun=yes", "InvalidParameterValue", "DryRun"],
  ["ImageId=a&Disk=1", "InvalidParameterValue", "Disk"],
  ["ImageId=a&ImageId=b", "MalformedQueryString", "ImageId"],
  ["ImageId=a&ImageId.1=b", "MalformedQueryString", "ImageId.1"],
  [`ImageId=a&${"x.".repeat(40)}x=1`, "MalformedQueryString", "x.x"],
])("refuses %s as %s and names it", (body, code, message) => {
  expect(() => parse(body)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

it("refuses more parameters than any honest call has", () => {
  const body = Array.from({ length: 2_001 }, (_, index) => `A${index}=1`).join("&");
  expect(() => parse(body)).toThrow(expect.objectContaining({ code: "RequestEntityTooLarge" }));
});
