/** Errors in the words of each service's protocol, so that the AWS SDKs read them as AWS's own. */
import { ApiError, type LocalResponse } from "./http.ts";
import type { ServiceName } from "./signature.ts";
import { xmlDocument } from "./xml.ts";

type FailedRequest = {
  readonly service: ServiceName;
  readonly isHead: boolean;
  readonly path: string;
};

/** Anything but an ApiError is the local cloud's own fault: 500, without its text. */
export function renderError(
  request: FailedRequest,
  thrown: unknown,
  requestId: string,
): LocalResponse {
  const error =
    thrown instanceof ApiError
      ? thrown
      : new ApiError(500, "InternalError", "the local cloud failed; its log says why");
  switch (request.service) {
    case "s3":
      return renderS3(request, error, requestId);
    case "ec2":
      return xml(
        error.status,
        xmlDocument("Response", {
          Errors: { Error: { Code: error.code, Message: error.message } },
          RequestID: requestId,
        }),
      );
    case "sts":
      return xml(
        error.status,
        xmlDocument(
          "ErrorResponse",
          {
            Error: { Type: faultOf(error), Code: error.code, Message: error.message },
            RequestId: requestId,
          },
          "https://sts.amazonaws.com/doc/2011-06-15/",
        ),
      );
    case "sqs":
      return json(error, {
        __type: `com.amazonaws.sqs#${error.code}`,
        extra: {
          "x-amzn-query-error": `${SQS_QUERY_CODES[error.code] ?? error.code};${faultOf(error)}`,
        },
      });
    case "kms":
    case "secretsmanager":
    case "servicequotas":
    case "ssm":
      return json(error, { __type: error.code, extra: {} });
  }
}

/** A HEAD has no body to say the code in, and neither has 304. */
function renderS3(request: FailedRequest, error: ApiError, requestId: string): LocalResponse {
  if (request.isHead || error.status === 304) return { status: error.status };
  const body = xmlDocument("Error", {
    Code: error.code,
    Message: error.message,
    ...error.fields,
    Resource: request.path,
    RequestId: requestId,
    HostId: "local",
  });
  return xml(error.status, body);
}

const xml = (status: number, body: string): LocalResponse => ({
  status,
  headers: { "content-type": "application/xml" },
  body,
});

const json = (
  error: ApiError,
  form: { readonly __type: string; readonly extra: Readonly<Record<string, string>> },
): LocalResponse => ({
  status: error.status,
  headers: { "content-type": "application/x-amz-json-1.0", ...form.extra },
  body: JSON.stringify({ __type: form.__type, message: error.message }),
});

const faultOf = (error: ApiError): string => (error.status < 500 ? "Sender" : "Receiver");

/** Codes that SQS had in its older protocol; SDKs and scripts know queues' absence by this one. */
const SQS_QUERY_CODES: Readonly<Record<string, string>> = {
  QueueDoesNotExist: "AWS.SimpleQueueService.NonExistentQueue",
  QueueNameExists: "QueueAlreadyExists",
  QueueDeletedRecently: "AWS.SimpleQueueService.QueueDeletedRecently",
  EmptyBatchRequest: "AWS.SimpleQueueService.EmptyBatchRequest",
  TooManyEntriesInBatchRequest: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
  BatchEntryIdsNotDistinct: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
  BatchRequestTooLong: "AWS.SimpleQueueService.BatchRequestTooLong",
  InvalidBatchEntryId: "AWS.SimpleQueueService.InvalidBatchEntryId",
  MessageNotInflight: "AWS.SimpleQueueService.MessageNotInflight",
  PurgeQueueInProgress: "AWS.SimpleQueueService.PurgeQueueInProgress",
  UnsupportedOperation: "AWS.SimpleQueueService.UnsupportedOperation",
};
