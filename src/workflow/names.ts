/** What workflows, tags and parts of workflows may be called. Names become keys in S3 and folders on disk. */

export const NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
const NAME = new RegExp(NAME_PATTERN);

export const NAME_RULE =
  "a name has letters, digits, dots, dashes and underscores, begins with a letter or a digit, and has at most 63 of them";

export const isName = (text: string): boolean => NAME.test(text);
