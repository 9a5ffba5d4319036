/** DescribeInstanceStatus: what `aws ec2 wait instance-status-ok` asks. The checks of one that hangs or has no network fail. */
import { z } from "zod";
import { filters, flag, integer, list, parseForm, text } from "./ec2-form.ts";
import { pickInstances, renderState } from "./ec2-instances.ts";
import { applyFilters, takePage } from "./ec2-pages.ts";
import { SUBNETS } from "./ec2-world.ts";
import { items, type Xml } from "./ec2-xml.ts";
import { ApiError } from "./http.ts";
import type { Placed } from "./instances-store.ts";

const describe = z.strictObject({
  InstanceId: list(text).optional(),
  IncludeAllInstances: flag.optional(),
  Filter: filters.optional(),
  MaxResults: integer.optional(),
  NextToken: text.optional(),
});

export function describeInstanceStatus(
  placed: readonly Placed[],
  form: URLSearchParams,
  now: number,
): Xml {
  const input = parseForm(describe, form);
  if (input.InstanceId !== undefined && input.MaxResults !== undefined) {
    const message = "The parameter instancesSet cannot be used with the parameter maxResults";
    throw new ApiError(400, "InvalidParameterCombination", message);
  }
  const named = input.InstanceId === undefined ? placed : pickInstances(placed, input.InstanceId);
  const shown = named
    .filter(({ instance }) => input.IncludeAllInstances === true || instance.state === "running")
    .map((each): Checked => ({ ...each, status: statusOf(each, now) }));
  const matching = applyFilters(
    shown,
    input.Filter ?? [],
    (name) => Object.hasOwn(FILTERS, name),
    (each, name) => FILTERS[name]?.(each),
  );
  const sorted = matching.toSorted((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
  const { page, nextToken } = takePage(sorted, input, { least: 5, most: 1_000 }, keyOf);
  return { instanceStatusSet: items(page.map(render)), nextToken };
}

const keyOf = ({ instance }: Placed): string => instance.id;

type Status = "ok" | "impaired" | "not-applicable";
type Checked = Placed & { readonly status: Status };

function statusOf({ instance }: Placed, now: number): Status {
  if (instance.state !== "running") return "not-applicable";
  const isHarmed = instance.troubles?.some(
    ({ fault, hasHappened, until = Number.POSITIVE_INFINITY }) =>
      hasHappened && now < until && (fault === "instance-hangs" || fault === "network-loss"),
  );
  return isHarmed ? "impaired" : "ok";
}

const FILTERS: Readonly<Record<string, (checked: Checked) => readonly string[]>> = {
  "availability-zone": ({ reservation }) => [reservation.zone],
  "availability-zone-id": ({ reservation }) =>
    SUBNETS.filter(({ zone }) => zone === reservation.zone).map(({ zoneId }) => zoneId),
  "instance-state-name": ({ instance }) => [instance.state],
  "instance-status.status": ({ status }) => [status],
  "system-status.status": ({ instance }) => [
    instance.state === "running" ? "ok" : "not-applicable",
  ],
};

function render({ reservation, instance, status }: Checked): Xml {
  return {
    instanceId: instance.id,
    availabilityZone: reservation.zone,
    instanceState: renderState(instance.state),
    systemStatus: renderCheck(status === "impaired" ? "ok" : status),
    instanceStatus: renderCheck(status),
  };
}

const CHECKS = { ok: "passed", impaired: "failed" } as const;

const renderCheck = (status: Status): Xml => ({
  status,
  details: items(
    status === "not-applicable" ? [] : [{ name: "reachability", status: CHECKS[status] }],
  ),
});
