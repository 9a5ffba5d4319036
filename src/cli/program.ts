/** The commands and their options. What a command does is loaded when it is called, so that help is quick. */
import { Command, Option } from "commander";
import { UserError } from "../errors.ts";
import type { ArtifactOptions } from "./commands/artifacts.ts";
import type { DoctorOptions } from "./commands/doctor.ts";
import type { InitOptions } from "./commands/init.ts";
import type { FaultOptions } from "./commands/local-faults.ts";
import type { LogOptions } from "./commands/logs.ts";
import type { PlanOptions } from "./commands/plan.ts";
import type { PruneOptions } from "./commands/prune.ts";
import type { CommonOptions } from "./commands/runs.ts";
import type { SubmitOptions } from "./commands/submit.ts";
import type { ToolsAddOptions } from "./commands/tools.ts";
import type { DaemonCommandOptions } from "./daemon.ts";
import { DATA_DEFAULT } from "./local-note.ts";
import { hintNear } from "./near-hints.ts";
import { count, countOrNone, milliseconds, portNumber, portNumbers } from "./option-values.ts";
import type { Output } from "./output.ts";

const PORT_DEFAULT = 4577;

/** `onExitCode` is told what the command that ran answers. */
export function createProgram(
  output: Output,
  version: string,
  onExitCode: (code: number) => void,
): Command {
  const program = new Command("errand")
    .description(
      "Rents an EC2 machine for each job of a workflow, brings back what the job made, and gives the machine back.",
    )
    .version(version)
    .showHelpAfterError("(errand --help lists all commands)")
    .configureHelp({ sortOptions: false })
    .exitOverride();
  addSubmit(program, output, onExitCode);
  addReaders(program, output, onExitCode);
  addTags(program, output, onExitCode);
  addPlans(program, output, onExitCode);
  addToolCommands(program, output, onExitCode);
  addInit(program, output, onExitCode);
  addDaemon(program, output, onExitCode);
  addDoctor(program, output, onExitCode);
  for (const each of program.commands) nameItsHelp(each, "errand");
  return program;
}

/** What stands below a wrong word of a command names that command's help. */
function nameItsHelp(command: Command, above: string): void {
  const path = `${above} ${command.name()}`;
  command.showHelpAfterError(`(${path} --help says how)`);
  for (const each of command.commands) nameItsHelp(each, path);
}

type OnExitCode = (code: number) => void;

const dataOption = () =>
  new Option("--data <dir>", "directory of the local cloud")
    .env("ERRAND_DATA")
    .default(DATA_DEFAULT);

/** Options that all commands have. */
function common(command: Command): Command {
  return command
    .option("--json", "print JSON")
    .option("--local", "use the local cloud")
    .addOption(dataOption())
    .option("--bucket <name>", "the installation's bucket (ERRAND_BUCKET)")
    .option("--region <name>", "AWS region (AWS_REGION)")
    .option("--endpoint <url>", "another AWS endpoint (AWS_ENDPOINT_URL)")
    .option(
      "--config <file>",
      "configuration (ERRAND_CONFIG; errand.yaml, /etc/errand/errand.yaml)",
    );
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** `[DIR] [WORKFLOW…] [--NAME VALUE]…`: whatever is no option of ours is a variable. */
const asked = (command: Command): Command =>
  command
    .argument("[words...]", "DIR, workflows and --NAME VALUE")
    .usage("[DIR] [WORKFLOW...] [--NAME VALUE]... [options]")
    .allowUnknownOption()
    .hook("preAction", (_, called) => {
      called.setOptionValue(
        "optionNames",
        called.options.flatMap(({ long }) => long ?? []),
      );
    })
    .option(
      "--var <NAME=VALUE>",
      "set a variable, also one that is called like an option",
      collect,
    );

function addSubmit(program: Command, output: Output, onExitCode: OnExitCode): void {
  asked(common(program.command("submit")))
    .description("send a directory and run workflows of it; follows the run to its end")
    .option("--tag <tag>", "put this tag on the artifacts when the run succeeds")
    .option("--detach", "do not follow")
    .action(async (words: string[], options: SubmitOptions) => {
      const { submit } = await import("./commands/submit.ts");
      onExitCode(await submit(output, words, options));
    });
}

function addReaders(program: Command, output: Output, onExitCode: OnExitCode): void {
  common(program.command("runs"))
    .description("list runs, the newest first")
    .option("--limit <count>", "how many", count, 20)
    .action(async (options: CommonOptions & { limit: number }) => {
      const { runs } = await import("./commands/runs.ts");
      onExitCode(await runs(output, options));
    });
  common(program.command("show").argument("<run>", RUN))
    .description("show a run: jobs, attempts, phases, cost, artifacts, and why")
    .action(async (run: string, options: CommonOptions) => {
      const { show } = await import("./commands/runs.ts");
      onExitCode(await show(output, run, options));
    });
  common(program.command("logs").argument("<run>", RUN).argument("[job]"))
    .description("print what the jobs of a run have written")
    .option("-f, --follow", "go on until the run is finished")
    .option("-t, --timestamps", "each line after the time at which it began, UTC")
    .option("--since <time>", "lines since then: 10m ago, or 2026-11-25T08:30Z")
    .option("--tail <lines>", "of each job the last lines, so many", countOrNone)
    .option("--console", "instead, what machines said at boot whose jobs never began")
    .action(async (run: string, job: string | undefined, options: LogOptions) => {
      if (options.console) {
        const { consoles } = await import("./commands/consoles.ts");
        return onExitCode(await consoles(output, { run, job }, options));
      }
      const { logs } = await import("./commands/logs.ts");
      onExitCode(await logs(output, { run, job }, options));
    });
  common(
    program.command("artifacts").argument("<run>", `${RUN}; or WORKFLOW:TAG`).argument("[job]"),
  )
    .description("list what the jobs of a run brought back")
    .option("--download <dir>", "bring it here, verified")
    .action(async (run: string, job: string | undefined, options: ArtifactOptions) => {
      const { artifacts } = await import("./commands/artifacts.ts");
      onExitCode(await artifacts(output, { run, job }, options));
    });
  common(program.command("cancel").argument("<run>", RUN))
    .description("end a run: SIGTERM, 30 s, SIGKILL; artifacts so far are kept")
    .option("--now", "terminate its machines at once")
    .action(async (run: string, options: CommonOptions & { now?: boolean }) => {
      const { cancel } = await import("./commands/runs.ts");
      onExitCode(await cancel(output, run, options));
    });
  common(program.command("instances"))
    .description("list instances as EC2 sees them, and where the records differ")
    .option("--all", "terminated ones too")
    .action(async (options: CommonOptions & { all?: boolean }) => {
      const { instances } = await import("./commands/instances.ts");
      onExitCode(await instances(output, options));
    });
}

function addTags(program: Command, output: Output, onExitCode: OnExitCode): void {
  const tags = program
    .command("tags")
    .description("names for the artifacts of successful runs, as in prepare:latest");
  common(tags.command("add").argument("<tag>").argument("<run>", RUN).argument("[workflow]"))
    .description("put a tag on the workflows a run was asked for, or on one of its workflows")
    .action(async (tag: string, run: string, workflow: string | undefined, options) => {
      const { addTag } = await import("./commands/tags.ts");
      onExitCode(await addTag(output, { tag, run, workflow }, options as CommonOptions));
    });
  common(tags.command("list").argument("[workflow]"))
    .description("list tags and the runs they stand for")
    .action(async (workflow: string | undefined, options: CommonOptions) => {
      const { tags: list } = await import("./commands/tags.ts");
      onExitCode(await list(output, workflow, options));
    });
  common(tags.command("delete").argument("<tag>").argument("[workflow]"))
    .description("take a tag away; artifacts stay until they are pruned")
    .action(async (tag: string, workflow: string | undefined, options: CommonOptions) => {
      const { deleteTag } = await import("./commands/tags.ts");
      onExitCode(await deleteTag(output, { tag, workflow }, options));
    });
  common(program.command("prune"))
    .description("list what old runs left in the bucket, but what tags and open runs need")
    .option("--older-than <time>", "of runs that ended longer ago, as in 30d")
    .option("--apply", "take it away")
    .addOption(new Option("--yes").hideHelp())
    .action(async (options: PruneOptions) => {
      const { prune } = await import("./commands/prune.ts");
      onExitCode(await prune(output, options));
    });
}

const RUN = "an id, the beginning of one, a name, or latest";

function addPlans(program: Command, output: Output, onExitCode: OnExitCode): void {
  asked(common(program.command("plan")))
    .description("say which instances a run would use and what it costs at worst")
    .action(async (words: string[], options: PlanOptions) => {
      const { plan } = await import("./commands/plan.ts");
      onExitCode(await plan(output, words, options));
    });
  asked(common(program.command("check")))
    .description("check the workflow files of a directory")
    .action(async (words: string[], options: PlanOptions) => {
      const { check } = await import("./commands/check.ts");
      onExitCode(await check(output, words, options));
    });
}

function addToolCommands(program: Command, output: Output, onExitCode: OnExitCode): void {
  const tools = program
    .command("tools")
    .description("keep uv and Pythons in the bucket, for machines that reach nothing else");
  common(tools.command("add").argument("<tool>", "uv, or python").argument("[versions...]"))
    .description("put uv, or Pythons such as 3.10 and uv, into the bucket, verified")
    .option("--arch <arch>", "x86_64, arm64, or host for the local cloud's machines", collect)
    .option("--from <file>", "a file that is here: uv's wheel or archive, a Python's archive")
    .action(async (tool: string, versions: string[], options: ToolsAddOptions) => {
      const { addTools } = await import("./commands/tools.ts");
      onExitCode(await addTools(output, [tool, ...versions], options));
    });
  common(tools.command("list"))
    .description("list what is there")
    .action(async (options: CommonOptions) => {
      const { listTools } = await import("./commands/tools.ts");
      onExitCode(await listTools(output, options));
    });
}

function addInit(program: Command, output: Output, onExitCode: OnExitCode): void {
  program
    .command("init")
    .description("write the configuration of an installation, from its CloudFormation stack")
    .requiredOption("--stack <name>", "the stack that was deployed from infra/errand.yaml")
    .option("--region <name>", "AWS region (AWS_REGION)")
    .option("--endpoint <url>", "another AWS endpoint (AWS_ENDPOINT_URL)")
    .option("--config <file>", "where to write it", "errand.yaml")
    .option("--force", "overwrite what is there")
    .option("--json", "print JSON")
    .action(async (options: InitOptions) => {
      const { init } = await import("./commands/init.ts");
      onExitCode(await init(output, options));
    });
}

function addDoctor(program: Command, output: Output, onExitCode: OnExitCode): void {
  common(program.command("doctor"))
    .description("check the installation: rights, bucket, events, images, subnets; changes nothing")
    .option("--reap", "end machines of this installation that no open run wants")
    .action(async (options: DoctorOptions) => {
      const { doctor } = await import("./commands/doctor.ts");
      onExitCode(await doctor(output, options));
    });
}

function addDaemon(program: Command, output: Output, onExitCode: OnExitCode): void {
  const run = async (options: DaemonCommandOptions) => {
    const { daemon } = await import("./daemon.ts");
    onExitCode(await daemon(output, options));
  };
  serving(common(program.command("daemon")))
    .description("take drops and run them, until SIGTERM")
    .action((options: Omit<DaemonCommandOptions, "daemon">) => run({ ...options, daemon: true }));
  const local = serving(common(program.command("local")))
    .description("the same as daemon --local")
    .option("--no-daemon", "the local cloud alone")
    .allowExcessArguments()
    .action((options: DaemonCommandOptions, command: Command) => {
      const [word] = command.args;
      if (word === undefined) return run({ ...options, local: true });
      const known = command.commands.map((each) => each.name());
      const hint = hintNear(word, known, "They are listed by errand local --help.");
      throw new UserError(`errand local has no command "${word}"`, hint);
    });
  local
    .command("env")
    .description('for any AWS tool: eval "$(errand local env)"')
    .addOption(dataOption())
    .option("--json", "print JSON")
    .action(async (_: object, command: Command) => {
      const { localEnv } = await import("./commands/local-env.ts");
      // `local` has these options too, and takes those that stand before `env`.
      onExitCode(await localEnv(output, command.optsWithGlobals()));
    });
  addSecret(local, output, onExitCode);
  addFaults(local, output, onExitCode);
}

function addSecret(local: Command, output: Output, onExitCode: OnExitCode): void {
  local
    .command("secret")
    .description("what jobs may take into their environment (docs/workflows.md)")
    .command("put <name>")
    .description("keep what is on stdin: /errand/NAME as a parameter, errand/NAME as a secret")
    .addOption(dataOption())
    .action(async (name: string, _: object, command: Command) => {
      const { putSecret } = await import("./commands/local-secret.ts");
      onExitCode(await putSecret(output, name, command.optsWithGlobals()));
    });
}

function addFaults(local: Command, output: Output, onExitCode: OnExitCode): void {
  const faults = local
    .command("faults")
    .description("what the local cloud is to do wrong (docs/local-cloud.md)");
  const sub = (usage: string, description: string): Command =>
    faults
      .command(usage)
      .description(description)
      .addOption(dataOption())
      .option("--json", "print JSON");
  const load = () => import("./commands/local-faults.ts");
  // `local` has these options too, and takes those that stand before `faults`.
  const given = (command: Command): FaultOptions & { replace?: boolean } =>
    command.optsWithGlobals();
  sub("list", "list the rules, and how often each has matched and fired").action(
    async (_: object, command: Command) =>
      onExitCode(await (await load()).listFaults(output, given(command))),
  );
  sub("add <fault> [fields...]", "add a rule; fields are NAME=VALUE").action(
    async (fault: string, words: string[], _: object, command: Command) =>
      onExitCode(await (await load()).addFault(output, { fault, words }, given(command))),
  );
  sub("load <file>", "add all rules of a YAML or JSON file, or none")
    .option("--replace", "remove those that are there first")
    .action(async (file: string, _: object, command: Command) =>
      onExitCode(await (await load()).loadFaults(output, file, given(command))),
    );
  sub("remove <ids...>", "remove rules").action(
    async (ids: string[], _: object, command: Command) =>
      onExitCode(await (await load()).removeFaults(output, ids, given(command))),
  );
  sub("clear", "remove all rules: nothing goes wrong any more").action(
    async (_: object, command: Command) =>
      onExitCode(await (await load()).clearFaults(output, given(command))),
  );
}

const serving = (command: Command): Command =>
  command
    .option("--port <port>", "port of the local cloud, 0 for any", portNumber, PORT_DEFAULT)
    .option("--boot-ms <ms>", "local cloud: from launch to running", milliseconds)
    .option("--listing-lag-ms <ms>", "local cloud: from launch until it is listed", milliseconds)
    .addOption(
      new Option("--throttling <which>", "local cloud: refuse calls over AWS's rates").choices([
        "on",
        "off",
      ]),
    )
    .addOption(
      new Option("--sandbox <kind>", "local cloud: what isolates machines").choices([
        ...["auto", "bwrap", "unshare", "none"],
      ]),
    )
    .addOption(
      new Option("--egress <where>", "local cloud: where machines may go").choices([
        ...["any", "public", "none"],
      ]),
    )
    .option(
      "--allow-loopback <ports>",
      "local cloud: ports of this host's loopback that machines have, too",
      portNumbers,
    )
    .addOption(
      new Option("--log-level <level>", "debug, info, warn, error or silent").env(
        "ERRAND_LOG_LEVEL",
      ),
    )
    .addOption(new Option("--log-format <format>", "json or text").env("ERRAND_LOG_FORMAT"))
    .addOption(
      new Option("--metrics-port <port>", "loopback port of /metrics and /healthz")
        .env("ERRAND_METRICS_PORT")
        .argParser(portNumber),
    );
