/** How a call of the SDK was refused, such as `412 PreconditionFailed`; `done` where it was not. */
export async function errorOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "done";
  } catch (error) {
    const { name, $metadata } = error as {
      readonly name: string;
      readonly $metadata?: { readonly httpStatusCode?: number };
    };
    return `${$metadata?.httpStatusCode} ${name}`;
  }
}
