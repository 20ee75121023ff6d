/** Questions to the service. */

import { TEXTS } from '../texts.ts';

/** What the service answered in place of what was asked for; the message is its text, as it stands. */
export class ServiceError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A question to the service. */
export interface Question {
  readonly method?: string;
  readonly accept?: string;
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Longest document that is read, in bytes. A repository may have a million tags, in 16 MB. */
const MAX_BYTES = 32_000_000;

/** Longest error text that is read, in bytes. */
const MAX_ERROR_BYTES = 100_000;

/**
 * Asks the service.
 *
 * The browser adds the credentials that a person has typed into its own dialog, but to the page's own service only.
 *
 * @param origin of the service
 * @param path with its query
 * @throws ServiceError for any answer but 2xx, and if the service cannot be reached
 */
export async function ask(
  origin: string,
  path: string,
  { method = 'GET', accept = 'application/json, */*;q=0.5', signal, headers = {} }: Question,
): Promise<Response> {
  const isOwn = origin === location.origin;
  const response = await fetch(`${origin}${path}`, {
    ...{ method, signal, headers: { Accept: accept, ...headers } },
    credentials: isOwn ? 'same-origin' : 'omit',
    cache: 'no-cache',
    referrerPolicy: 'no-referrer',
  }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    const { unreachable, unlisted } = TEXTS.service;
    // A browser does not tell the one from the other.
    throw new ServiceError(0, isOwn ? unreachable : unlisted(location.origin));
  });
  if (response.ok) return response;
  throw new ServiceError(response.status, await errorText(response));
}

/** The service's own text; that of a proxy in front of it may be a page, of which only the status is shown. */
async function errorText(response: Response): Promise<string> {
  const status = `${response.status} ${response.statusText}`.trim();
  const type = response.headers.get('Content-Type') ?? '';
  if (/json/.test(type)) {
    const {
      title = status,
      detail = '',
      hints = [],
    } = JSON.parse(await readText(response, MAX_ERROR_BYTES)) as {
      readonly title?: string;
      readonly detail?: string;
      readonly hints?: readonly string[];
    };
    return [`${title}: ${detail}`, ...hints].join('\n');
  }
  return type.startsWith('text/plain') ? (await readText(response, MAX_ERROR_BYTES)).trim() : status;
}

/** Asks for a JSON document. */
export async function askJson(origin: string, path: string, question: Question): Promise<unknown> {
  return JSON.parse(await readText(await ask(origin, path, question), MAX_BYTES));
}

/**
 * Reads a text.
 *
 * @throws ServiceError for a text that is too long
 */
export async function readText(response: Response, maxBytes: number): Promise<string> {
  let text = '';
  let bytes = 0;
  for await (const piece of pieces(response)) {
    bytes += piece.length;
    if (bytes > maxBytes) throw new ServiceError(0, TEXTS.service.tooLarge);
    text += piece;
  }
  return text;
}

/** The text of a response, as it comes. */
export async function* pieces(response: Response): AsyncGenerator<string> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // The connection is not read to its end.
    void reader.cancel().catch(() => undefined);
  }
}

/** Path of a look-up: slashes and colons stay as they are typed. */
export function lookUpPath(
  route: string,
  reference: string,
  query: Readonly<Record<string, string>> = {},
): string {
  const path = reference
    .split('/')
    .map((segment) => encodeURIComponent(segment).replaceAll('%3A', ':').replaceAll('%40', '@'))
    .join('/');
  const given = Object.entries(query).filter(([, value]) => value !== '');
  return `/${route}/${path}${given.length === 0 ? '' : `?${new URLSearchParams(given)}`}`;
}
