/** Answers are recorded from AWS's documentation of the Price List, shortened to what is read; none is of an account. */
import { GetProductsCommand, PricingClient } from "@aws-sdk/client-pricing";
import { mockClient } from "aws-sdk-client-mock";
import { expect, test } from "vitest";
import { readPriceList } from "../../../src/aws/price-list.ts";

/** One product, as GetProducts has it: a document in itself. */
const product = (
  attributes: Readonly<Record<string, string>>,
  pricePerUnit: Readonly<Record<string, string>>,
  unit = "Hrs",
) =>
  JSON.stringify({
    product: {
      productFamily: "Compute Instance",
      attributes: { servicecode: "AmazonEC2", regionCode: "eu-west-1", ...attributes },
      sku: "2223B6PCG6QAUYY6",
    },
    serviceCode: "AmazonEC2",
    terms: {
      OnDemand: {
        "2223B6PCG6QAUYY6.JRTCKXETXF": {
          priceDimensions: {
            "2223B6PCG6QAUYY6.JRTCKXETXF.6YS6EN2CT7": {
              unit,
              endRange: "Inf",
              description: "an on-demand Linux instance hour",
              rateCode: "2223B6PCG6QAUYY6.JRTCKXETXF.6YS6EN2CT7",
              beginRange: "0",
              appliesTo: [],
              pricePerUnit,
            },
          },
          sku: "2223B6PCG6QAUYY6",
          effectiveDate: "2026-11-01T00:00:00Z",
          offerTermCode: "JRTCKXETXF",
          termAttributes: {},
        },
      },
      Reserved: {},
    },
    version: "20261120183014",
    publicationDate: "2026-11-20T18:30:14Z",
  });

function makePricing(instances: readonly string[][], disks: readonly string[] = []) {
  const client = new PricingClient({ region: "us-east-1" });
  const calls = mockClient(client);
  calls.on(GetProductsCommand).callsFake(({ Filters, NextToken }) => {
    const fields = (Filters as { Field: string }[]).map(({ Field }) => Field);
    if (fields.includes("volumeApiName")) return { PriceList: disks };
    const page = Number(NextToken ?? 0);
    return {
      PriceList: instances[page] ?? [],
      ...(page + 1 < instances.length && { NextToken: String(page + 1) }),
    };
  });
  return { client, calls };
}

test("prices of all pages are read, of Linux on shared hardware in the region, and of its disks", async () => {
  const { client, calls } = makePricing(
    [
      [product({ instanceType: "m5.large" }, { USD: "0.1070000000" })],
      [product({ instanceType: "g5.xlarge" }, { USD: "1.1234500000" })],
    ],
    [product({ volumeApiName: "gp3" }, { USD: "0.0880000000" }, "GB-Mo")],
  );
  expect(await readPriceList(client, "eu-west-1")).toEqual({
    hourlyUsd: { "m5.large": 0.107, "g5.xlarge": 1.12345 },
    diskGibMonthUsd: 0.088,
    isConverted: false,
  });
  const [first] = calls.commandCalls(GetProductsCommand);
  const filters = first?.args[0].input.Filters?.map(({ Field, Value }) => `${Field}=${Value}`);
  expect(filters).toEqual([
    "operatingSystem=Linux",
    "tenancy=Shared",
    "preInstalledSw=NA",
    "capacitystatus=Used",
    "marketoption=OnDemand",
    "regionCode=eu-west-1",
  ]);
});

test("what costs nothing has no price, and of two prices of a type the dearer counts", async () => {
  const { client } = makePricing([
    [
      product({ instanceType: "m5.large" }, { USD: "0.0000000000" }),
      product({ instanceType: "c5.large" }, { USD: "0.0850000000" }),
      product({ instanceType: "c5.large" }, { USD: "0.0960000000" }),
      product({ instanceType: "r5.large" }, { USD: "99.0" }, "Quantity"),
    ],
  ]);
  expect((await readPriceList(client, "us-east-1")).hourlyUsd).toEqual({ "c5.large": 0.096 });
});

test("prices in yuan are converted, and say so", async () => {
  const { client } = makePricing([[product({ instanceType: "m5.large" }, { CNY: "1.0" })]]);
  expect(await readPriceList(client, "cn-north-1")).toEqual({
    hourlyUsd: { "m5.large": 0.145 },
    isConverted: true,
  });
});
