import { printableJson } from '../util/printable.ts';
import { formatJson, formatText, type Problem, prefersJson } from './problem.ts';
import type { RequestContext } from './request-context.ts';

// Header names are spelled as in RFC 9110: case does not matter in HTTP, but it does to some small clients.

/** Adds names of request headers to `Vary`. Other steps of a request may have added some. */
export function varyBy(response: RequestContext['response'], ...names: readonly string[]): void {
  const known = String(response.getHeader('Vary') ?? '').split(', ');
  response.setHeader('Vary', [...new Set([...known, ...names])].filter((name) => name !== '').join(', '));
}

/** Sends a short text. */
export function sendText({ request, response }: RequestContext, status: number, text: string): void {
  const body = Buffer.from(text);
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/**
 * Sends an error, as text or as a problem document. If the header of another answer is out already, the connection is cut, so
 * that the client sees that its file is incomplete.
 *
 * The reason phrase is the title: some consoles show nothing else of an error.
 */
export function sendProblem({ id, request, response, facts }: RequestContext, problem: Problem): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  varyBy(response, 'Accept');
  const isJson = prefersJson(request.headers.accept);
  const context = { requestId: id, image: facts.image };
  const body = Buffer.from(isJson ? formatJson(problem, context) : formatText(problem, context));
  response.writeHead(problem.status, problem.title, {
    'Content-Type': isJson ? 'application/problem+json' : 'text/plain; charset=utf-8',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
    ...problem.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Sends a document from memory; the headers name its media type. */
export function sendDocument(
  { request, response }: RequestContext,
  body: Uint8Array,
  headers: Readonly<Record<string, string>>,
): void {
  response.writeHead(200, { ...headers, 'Content-Length': body.byteLength });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Sends a value as JSON. */
export function sendJson(
  { request, response }: RequestContext,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = Buffer.from(`${printableJson(value)}\n`);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Answers 204. */
export function sendNothing({ response }: RequestContext): void {
  response.writeHead(204).end();
}
