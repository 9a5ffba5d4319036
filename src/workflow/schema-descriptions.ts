// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** What editors show beside a key, by its path below a workflow's parameters. docs/workflows.md says it in full. */
export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  "workflow.name":
    "The workflow's name: letters, digits, dots, dashes and underscores, at most 63, unique also when case is ignored.",
  "workflow.provider":
    "What runs the workflow: python, curl, or one of your own in .dstack/providers.",
  "workflow.depends-on":
    "Workflows that run first, in the same run, and whose artifacts the jobs start with. prepare:latest runs nothing and takes the artifacts of the run with that tag.",
  "variables.variables":
    "A section for each workflow, and global, which all see. Overridden by --NAME VALUE at submit.",
  "variables.global": "Variables that all workflows see. A workflow's own section wins.",

  python_script:
    "The script and its arguments, split as a POSIX shell splits words. No shell runs.",
  requirements: "The path of a requirements file in the working directory, or a list of packages.",
  python: "Major and minor version, 3.8 or later; 3.10 by default, with or without quotes.",
  environment:
    "Environment variables: a map of names to values, or a list of NAME=value. In a map, {ssm: /errand/NAME} and {secret: errand/NAME} stand for what is kept there.",
  role: "The role that the job has on AWS: one of the operator's jobRoles, by name.",
  working_dir: "Where the job runs, relative to the bundle's root.",
  artifacts: "Files, folders and globs that are kept, relative to the working directory.",
  resources: "The machine. All are minimums.",

  "provider.parameters":
    "The parameters of workflows with this provider, as a JSON Schema of type object.",
  "provider.each": "A list: one job for each of its values, which is ${{ item }}.",
  name: "The job is called after its workflow and this; a number without it.",
  commands: "Bash, as one text or a list of lines. ${{ name }} is a parameter.",

  url: "What is downloaded: http, https or ftp.",
  output: "The file it is stored in, relative to the working directory. Folders are made.",
  sha256: "The checksum that the file must have.",

  "resources.cpu": "vCPUs.",
  "resources.memory": "With a unit: 32GB is decimal, 32GiB binary.",
  "resources.gpu": "A number of GPUs, or a map of count, name and memory. 0 is none.",
  "resources.gpu.count": "How many; 1 by default.",
  "resources.gpu.name": "As A10G.",
  "resources.gpu.memory": "Of each GPU, with a unit.",
  "resources.disk": "With a unit; 100GB by default.",
  "resources.max_duration":
    "After this the job is ended: 90m, 1h30m, 2d; a number alone is seconds. 24h by default.",
  "resources.burstable": "Whether types on CPU credits (t3 and the like) may be taken.",
  "resources.instance_type": "This EC2 instance type and no other.",
  "resources.arch": "x86_64 by default, or arm64.",
  "resources.max_price": "US dollars an hour.",
  "resources.retry":
    "Further tries, at most 10: a number after a machine was lost, or a map of lost and failed.",
  "resources.retry.lost": "After the machine was lost; 2 by default.",
  "resources.retry.failed": "After the job failed; 0 by default.",

  workflows: "What is run: the name of a workflow, or a list of them.",
  variables: "Values for variables, in place of those of variables.yaml.",
  tag: "Put on the artifacts when the run succeeds.",
};
