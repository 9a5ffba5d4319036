/** A job's role, as the real `aws` command and boto3 find it, which know nothing of us. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { startErrand } from "../support/errand.ts";
import { installTool } from "../support/tools.ts";

const aws = installTool("aws");
// boto3 is one of the packages that moto stands on.
const moto = installTool("moto");
const suite = "bin" in aws && "bin" in moto ? describe : describe.skip;
const ROLE = "arn:aws:iam::000000000000:role/errand-training";

suite("a job with a role", () => {
  it("is a session of that role for the aws command and for boto3, and writes what it may", async () => {
    const bins = [aws, moto].map((tool) => ("bin" in tool ? tool.bin : ""));
    const directory = await makeDirectory({
      ".dstack/providers/script.yaml": `
parameters: {type: object, properties: {}}
jobs:
  - role: training
    commands:
      - aws sts get-caller-identity --query Arn --output text
      - aws s3 ls
      - boto=$(dirname "$(command -v moto_server)")/python
      - '"$boto" who.py'
`,
      ".dstack/workflows.yaml": "workflows:\n  - {name: who, provider: script}\n",
      "who.py":
        "import boto3\nprint('boto3', boto3.client('sts').get_caller_identity()['Arn'])\nboto3.client('s3').put_object(Bucket=boto3.client('s3').list_buckets()['Buckets'][0]['Name'], Key='of/boto3', Body=b'x')\n",
    });
    const config = path.join(directory, "errand.yaml");
    await writeFile(config, `jobRoles: { training: "${ROLE}" }\n`);
    const errand = await startErrand({
      config,
      environment: { PATH: [...bins, process.env.PATH].join(path.delimiter) },
    });
    const { code, stdout, stderr } = await errand.run("submit", directory);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
    const run = (await errand.show()).id;
    const session = `arn:aws:sts::000000000000:assumed-role/errand-training/${run}.who.1`;
    const { stdout: log } = await errand.run("logs", "latest", "who");
    expect(log).toContain(`\n${session}\n`);
    expect(log).toContain(`boto3 ${session}\n`);
    expect(log).toContain(errand.ready().bucket);
  });
});
