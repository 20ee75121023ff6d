/** Answers of a service, byte for byte and header for header. */

import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from '../../../test/support/http-request.ts';
import { within } from '../../../test/support/within.ts';

/** An answer as it came. */
export interface Answer {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** Names as they were written. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** Whether the connection broke before the end. */
  readonly isCut: boolean;
}

/** An answer that a scenario looks into. */
export interface Seen extends Answer {
  /** The value of a header, by its name in lower case; empty where it is missing. */
  header(name: string): string;
}

/** What a request is called in a report. */
export function labelOf(
  path: string,
  { method = 'GET', headers = {}, body, localAddress }: RequestOptions,
): string {
  const lines = Object.entries(headers).map(([name, value]) => ` ${name}: ${value.slice(0, 80)}`);
  const more = [
    ...lines,
    body && ` body ${JSON.stringify(body.slice(0, 40))}`,
    localAddress && ` from ${localAddress}`,
  ];
  return `${method} ${path}${more.filter(Boolean).join('')}`;
}

/**
 * Reads an answer to its end, or to where its connection breaks.
 *
 * @throws Error when that takes too long
 */
export async function readAnswer(response: IncomingMessage, path: string): Promise<Answer> {
  const chunks: Buffer[] = [];
  let isCut = false;
  try {
    await within(
      (async () => {
        for await (const chunk of response) chunks.push(chunk as Buffer);
      })(),
      `the body of ${path}`,
    );
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('Cannot wait')) throw error;
    isCut = true;
  }
  const { httpVersion: version, statusCode: status = 0, statusMessage: reason = '', rawHeaders } = response;
  const headers = rawHeaders.flatMap((name, at) =>
    at % 2 === 0 ? [[name, rawHeaders[at + 1] ?? ''] as const] : [],
  );
  return { version, status, reason, headers, body: Buffer.concat(chunks), isCut };
}

/** Makes the headers of an answer easy to look into. */
export function seen(answer: Answer): Seen {
  const header = (name: string) => answer.headers.find(([key]) => key.toLowerCase() === name)?.[1] ?? '';
  return { ...answer, header };
}
