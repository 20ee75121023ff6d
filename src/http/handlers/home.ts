import { printable } from '../../util/printable.ts';
import type { Page, PageEncoding } from '../../web/page.ts';
import type { Application } from '../application.ts';
import { checkConditions } from '../conditional.ts';
import type { RequestContext } from '../request-context.ts';
import { sendDocument, sendText, varyBy } from '../respond.ts';
import { qualityOf } from '../routing/accept.ts';
import { splitTarget } from '../routing/path.ts';

/** Headers of the page beside its policy: no address in `Referer`, in no frame. */
const SAFETY = {
  'Referrer-Policy': 'no-referrer',
  'X-Frame-Options': 'DENY',
} as const;

let page: Promise<Page> | undefined;

/**
 * Answers with what the service is: the page to a client that names HTML, and the usage text to any other. curl and switches send a bare
 * wildcard.
 *
 * A query is the form of the page, sent by a browser without scripts: the answer has the commands.
 *
 * @param usage writes the text, from the host as the client addressed it
 * @throws PassthroughError `PRECONDITION_FAILED`
 */
export async function handleHome(
  context: RequestContext,
  _: unknown,
  { config }: Application,
  usage: (host: string) => string,
): Promise<void> {
  const { client, request, response } = context;
  const { accept, 'accept-encoding': encodings } = request.headers;
  const host = printable(request.headers.host ?? `localhost:${config.http.port}`);
  varyBy(response, 'Accept', 'Accept-Encoding');
  const html = qualityOf(accept, 'text/html');
  if (html === 0 || html < qualityOf(accept, 'text/plain')) return sendText(context, 200, usage(host));
  const { bodies, hash, policy, render } = await loadOnce();
  const headers = {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': policy,
    ...SAFETY,
  };
  const { query } = splitTarget(request.url ?? '/');
  if (query.size > 0) {
    const body = Buffer.from(render(query.toString(), `${client.scheme}://${host}`));
    return sendDocument(context, body, { ...headers, 'Cache-Control': 'no-store' });
  }
  const encoding = encodingOf(encodings);
  const etag = `"${hash}-${encoding}"`;
  const cached = { ...headers, 'Cache-Control': 'no-cache', ETag: etag };
  if (checkConditions(request, etag)) {
    response.writeHead(304, cached).end();
    return;
  }
  const coded = encoding === 'identity' ? {} : { 'Content-Encoding': encoding };
  sendDocument(context, bodies[encoding], { ...cached, ...coded });
}

/** Loads the page with the first request that wants it: the program starts without it. A failure is not kept. */
async function loadOnce(): Promise<Page> {
  page ??= import('../../web/page.ts').then(({ loadPage }) => loadPage());
  try {
    return await page;
  } catch (error) {
    page = undefined;
    throw error;
  }
}

/** The encoding that the client likes most; of equals, the smallest. https://www.rfc-editor.org/rfc/rfc9110#field.accept-encoding */
function encodingOf(header: string | string[] | undefined): PageEncoding {
  const codings = header?.toString();
  const plain = qualityOf(codings, 'identity');
  const gzip = qualityOf(codings, 'gzip', 'x-gzip');
  const brotli = qualityOf(codings, 'br');
  if (brotli > 0 && brotli >= Math.max(gzip, plain)) return 'br';
  return gzip > 0 && gzip >= plain ? 'gzip' : 'identity';
}
