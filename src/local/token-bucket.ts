/** Token buckets, by which AWS limits how often its APIs may be called. */

export type BucketSize = {
  /** How many tokens it holds, and has at the start. */
  readonly capacity: number;
  readonly refillPerSecond: number;
};

export type TokenBucket = {
  /** All or none of them; false when there are not so many. More than the bucket can ever hold counts as a full one. */
  take(tokens?: number): boolean;
};

/** `now` in milliseconds; a clock that goes back refills nothing. */
export function createTokenBucket(size: BucketSize, now: () => number): TokenBucket {
  let [tokens, filledAt] = [size.capacity, now()];
  const refill = (): void => {
    const at = now();
    const gained = (Math.max(0, at - filledAt) * size.refillPerSecond) / 1_000;
    tokens = Math.min(size.capacity, tokens + gained);
    filledAt = at;
  };
  return {
    take: (wanted = 1) => {
      refill();
      const taken = Math.min(wanted, size.capacity);
      if (tokens < taken) return false;
      tokens -= taken;
      return true;
    },
  };
}

export type Throttle<Name extends string> = {
  /** False when the bucket of that name has not got the tokens. */
  take(name: Name, tokens?: number): boolean;
};

/** Buckets by name, each made when it is first asked for. */
export function createThrottle<Name extends string>(
  sizes: Readonly<Record<Name, BucketSize>>,
  now: () => number,
): Throttle<Name> {
  const buckets = new Map<Name, TokenBucket>();
  return {
    take: (name, tokens) => {
      const bucket = buckets.get(name) ?? createTokenBucket(sizes[name], now);
      buckets.set(name, bucket);
      return bucket.take(tokens);
    },
  };
}
