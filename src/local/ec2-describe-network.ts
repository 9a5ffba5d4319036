/** DescribeVpcs and DescribeSecurityGroups: the one VPC and its one group. */
import { z } from "zod";
import { filters, integer, list, parseForm, text } from "./ec2-form.ts";
import { applyFilters, takePage } from "./ec2-pages.ts";
import { ACCOUNT_ID, REGION, SECURITY_GROUP, VPC_ID } from "./ec2-world.ts";
import { items, type Xml } from "./ec2-xml.ts";
import { ApiError } from "./http.ts";

const paged = {
  MaxResults: integer.optional(),
  NextToken: text.optional(),
  Filter: filters.optional(),
};
type Paged = z.output<z.ZodObject<typeof paged>>;

type Only = { readonly id: string; readonly filters: Readonly<Record<string, string>> };

/** The thing that there is, unless a filter does not fit it. */
function pageOf(only: Only, input: Paged): { readonly isThere: boolean } {
  const found = applyFilters(
    [only],
    input.Filter ?? [],
    (name) => Object.hasOwn(only.filters, name) || name === "tag-key" || name.startsWith("tag:"),
    (each, name) => [each.filters[name] ?? []].flat(),
  );
  const { page } = takePage(found, input, { least: 5, most: 1_000 }, ({ id }) => id);
  return { isThere: page.length > 0 };
}

function checkIds(asked: readonly string[] | undefined, known: string, what: string): void {
  const missing = asked?.find((id) => id !== known);
  if (missing === undefined) return;
  const [code, kind] =
    what === "vpc" ? ["InvalidVpcID.NotFound", "vpc ID"] : ["InvalidGroup.NotFound", what];
  throw new ApiError(400, code, `The ${kind} '${missing}' does not exist`);
}

const vpcs = z.strictObject({ ...paged, VpcId: list(text).optional() });
const VPC_CIDR = "10.0.0.0/16";

export function describeVpcs(form: URLSearchParams): Xml {
  const input = parseForm(vpcs, form);
  checkIds(input.VpcId, VPC_ID, "vpc");
  const fields = { cidr: VPC_CIDR, "is-default": "true", "owner-id": ACCOUNT_ID };
  const only = { id: VPC_ID, filters: { "vpc-id": VPC_ID, state: "available", ...fields } };
  const vpc = {
    vpcId: VPC_ID,
    ownerId: ACCOUNT_ID,
    state: "available",
    cidrBlock: VPC_CIDR,
    instanceTenancy: "default",
    isDefault: true,
    tagSet: items([]),
  };
  return { vpcSet: items(pageOf(only, input).isThere ? [vpc] : []) };
}

const groups = z.strictObject({
  ...paged,
  GroupId: list(text).optional(),
  GroupName: list(text).optional(),
});

export function describeSecurityGroups(form: URLSearchParams): Xml {
  const input = parseForm(groups, form);
  const { id, name } = SECURITY_GROUP;
  checkIds(input.GroupId, id, "security group");
  checkIds(input.GroupName, name, "security group");
  const fields = { "group-id": id, "group-name": name, "vpc-id": VPC_ID, "owner-id": ACCOUNT_ID };
  const group = {
    groupId: id,
    groupName: name,
    groupDescription: "of every instance",
    securityGroupArn: `arn:aws:ec2:${REGION}:${ACCOUNT_ID}:security-group/${id}`,
    ownerId: ACCOUNT_ID,
    vpcId: VPC_ID,
    // Nothing comes in, everything may go out.
    ipPermissions: items([]),
    ipPermissionsEgress: items([
      { ipProtocol: "-1", ipRanges: items([{ cidrIp: "0.0.0.0/0" }]), groups: items([]) },
    ]),
    tagSet: items([]),
  };
  return {
    securityGroupInfo: items(pageOf({ id, filters: fields }, input).isThere ? [group] : []),
  };
}
