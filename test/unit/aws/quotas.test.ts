import { ListServiceQuotasCommand, ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import { mockClient } from "aws-sdk-client-mock";
import { expect, test } from "vitest";
import { createQuotaReader } from "../../../src/aws/quotas.ts";

function makeReader() {
  const client = new ServiceQuotasClient({ region: "us-east-1", maxAttempts: 1 });
  const mock = mockClient(client);
  const clock = { at: 0 };
  const unknown: unknown[] = [];
  const read = createQuotaReader(client, {
    freshMs: 1_000,
    now: () => clock.at,
    onUnknown: (error) => unknown.push(error),
  });
  return { mock, clock, unknown, read };
}

const refused = Object.assign(new Error("not authorized"), {
  name: "AccessDeniedException",
  $metadata: { httpStatusCode: 400 },
});

test("quotas are read to the last page, by group, and the rest of EC2's are passed over", async () => {
  const { mock, read } = makeReader();
  mock
    .on(ListServiceQuotasCommand)
    .resolvesOnce({
      Quotas: [
        { QuotaCode: "L-1216C47A", Value: 256 },
        { QuotaCode: "L-0263D0A3", Value: 5 },
      ],
      NextToken: "more",
    })
    .resolvesOnce({ Quotas: [{ QuotaCode: "L-DB2E81BA", Value: 64 }] });
  expect(await read()).toEqual({ standard: 256, gAndVt: 64 });
});

test("they are read once for all who ask, and anew after a while", async () => {
  const { mock, clock, read } = makeReader();
  mock.on(ListServiceQuotasCommand).resolves({ Quotas: [{ QuotaCode: "L-417A185B", Value: 8 }] });
  const [first, second] = await Promise.all([read(), read()]);
  expect([await read(), second]).toEqual([first, first]);
  expect(mock.calls()).toHaveLength(1);
  clock.at = 1_000;
  await read();
  expect(mock.calls()).toHaveLength(2);
});

test("what cannot be read is as it was, which is told once", async () => {
  const { mock, clock, unknown, read } = makeReader();
  mock
    .on(ListServiceQuotasCommand)
    .rejectsOnce(refused)
    .resolvesOnce({ Quotas: [{ QuotaCode: "L-417A185B", Value: 8 }] })
    .rejects(refused);
  expect(await read()).toEqual({});
  clock.at = 1_000;
  expect(await read()).toEqual({ p: 8 });
  clock.at = 2_000;
  expect(await read()).toEqual({ p: 8 });
  expect(unknown).toHaveLength(1);
});
