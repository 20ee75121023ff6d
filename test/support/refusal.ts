/**
 * Error documents of the fake registry.
 */

import type { OutgoingHttpHeaders } from 'node:http';
import { type Answer, paddedBody, type Refusal } from './answer.ts';
import type { Defects } from './defects.ts';

/** The error code of a status, for errors of which only the status is given. */
const CODES: Readonly<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'MANIFEST_UNKNOWN',
  429: 'TOOMANYREQUESTS',
};

/** @returns an error with the code of its status */
export function failure(status: number, headers: OutgoingHttpHeaders): Refusal {
  return { status, code: CODES[status] ?? 'UNKNOWN', message: `the registry fails with ${status}`, headers };
}

/**
 * Write an error document (OCI distribution, "Error Codes").
 *
 * @param refusal the error
 * @param authorization of the client, for documents that quote it
 */
export function refusalAnswer(refusal: Refusal, authorization: string | undefined, defects: Defects): Answer {
  const { status, code, message, headers } = refusal;
  const echo = defects.echoAuthorizationInErrors && authorization !== undefined;
  const error = echo
    ? { code, message: `${message} (you sent Authorization: ${authorization})`, detail: { authorization } }
    : { code, message };
  const huge = defects.hugeErrorBody;
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: paddedBody(JSON.stringify({ errors: [error] }), huge?.bytes ?? 0, ''),
    contentLength: huge?.contentLength === false ? 'none' : undefined,
  };
}
