/** Session documents: made once, kept in a folder, filled in when a session starts. Other kinds of documents are refused. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ACCOUNT_ID } from "./ec2-world.ts";
import { ApiError } from "./http.ts";
import { describeProblems } from "./problems.ts";
import { fillIn, splitWords } from "./session-words.ts";

const contentSchema = z.strictObject({
  schemaVersion: z.literal("1.0"),
  description: z.string().optional(),
  sessionType: z.literal("NonInteractiveCommands"),
  parameters: z
    .record(
      z.string(),
      z.strictObject({
        type: z.literal("String"),
        description: z.string().optional(),
        default: z.string().optional(),
        allowedPattern: z.string().optional(),
      }),
    )
    .default({}),
  properties: z.strictObject({
    linux: z.strictObject({
      commands: z.string().min(1),
      runAsElevated: z.boolean().optional(),
      separateOutputStream: z.union([z.boolean(), z.enum(["true", "false"])]).optional(),
    }),
  }),
});

const storedSchema = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  createdAt: z.number(),
  content: z.string(),
});
type Stored = z.infer<typeof storedSchema>;

export const createDocumentSchema = z.strictObject({
  Name: z.string().regex(/^[\w\-.]{3,128}$/),
  Content: z
    .string()
    .min(1)
    .max(64 * 1024),
  DocumentType: z.string().optional(),
  DocumentFormat: z.enum(["JSON", "YAML", "TEXT"]).optional(),
});

export type PreparedCommand = { readonly words: readonly string[]; readonly isSeparated: boolean };

export type Documents = {
  /** Durable when it resolves. */
  create(input: z.infer<typeof createDocumentSchema>): Promise<unknown>;
  describe(name: string): unknown;
  prepare(name: string, given: Readonly<Record<string, readonly string[]>>): PreparedCommand;
};

export async function openDocuments(folder: string): Promise<Documents> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const documents = new Map<string, Stored>();
  for (const name of (await readdir(folder)).filter((each) => each.endsWith(".json"))) {
    const stored = storedSchema.parse(JSON.parse(await readFile(join(folder, name), "utf8")));
    documents.set(stored.name, stored);
  }
  const find = (name: string): Stored => {
    const stored = documents.get(name);
    if (stored) return stored;
    throw new ApiError(400, "InvalidDocument", `Document with name ${name} does not exist.`);
  };
  return {
    create: async (input) => {
      const { Name: name, Content: content } = input;
      if (input.DocumentType !== "Session" || (input.DocumentFormat ?? "JSON") !== "JSON") {
        throw new ApiError(
          501,
          "NotImplemented",
          "the local cloud has Session documents in JSON only",
        );
      }
      readContent(content);
      if (documents.has(name)) {
        const message = `Document with same name ${name} already exists`;
        throw new ApiError(400, "DocumentAlreadyExists", message);
      }
      const stored: Stored = { format: 1, name, createdAt: Date.now(), content };
      documents.set(name, stored);
      const path = join(folder, `${name}.json`);
      await writeFile(`${path}.new`, JSON.stringify(stored));
      await rename(`${path}.new`, path);
      return { DocumentDescription: describe(stored) };
    },
    describe: (name) => ({ Document: describe(find(name)) }),
    prepare: (name, given) => prepare(readContent(find(name).content), given),
  };
}

function readContent(text: string): z.infer<typeof contentSchema> {
  try {
    return contentSchema.parse(JSON.parse(text));
  } catch (error) {
    const words =
      error instanceof z.ZodError ? describeProblems(error).join("; ") : "it is not JSON";
    throw new ApiError(400, "InvalidDocumentContent", words);
  }
}

function prepare(
  { parameters, properties }: z.infer<typeof contentSchema>,
  given: Readonly<Record<string, readonly string[]>>,
): PreparedCommand {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(parameters, name));
  if (unknown !== undefined) throw invalid(`${unknown} is no parameter of the document`);
  const values: Record<string, string> = {};
  for (const [name, { default: fallback, allowedPattern = "" }] of Object.entries(parameters)) {
    const [value = fallback, ...more] = given[name] ?? [];
    if (value === undefined || more.length > 0) throw invalid(`${name} takes one value`);
    if (!new RegExp(allowedPattern).test(value)) {
      throw invalid(`the value of ${name} does not match ${allowedPattern}`);
    }
    values[name] = value;
  }
  const { commands, separateOutputStream } = properties.linux;
  return {
    words: splitWords(fillIn(commands, values)),
    isSeparated: String(separateOutputStream) === "true",
  };
}

const invalid = (message: string): ApiError => new ApiError(400, "InvalidParameters", message);

function describe({ name, createdAt, content }: Stored) {
  const { description, parameters } = readContent(content);
  return {
    Name: name,
    Owner: ACCOUNT_ID,
    Status: "Active",
    CreatedDate: createdAt / 1_000,
    DocumentType: "Session",
    DocumentFormat: "JSON",
    DocumentVersion: "1",
    LatestVersion: "1",
    DefaultVersion: "1",
    SchemaVersion: "1.0",
    Description: description,
    Hash: createHash("sha256").update(content).digest("hex"),
    HashType: "Sha256",
    PlatformTypes: ["Linux", "MacOS"],
    Parameters: Object.entries(parameters).map(([Name, parameter]) => ({
      Name,
      Type: parameter.type,
      Description: parameter.description,
      DefaultValue: parameter.default,
    })),
    Tags: [],
  };
}
