import { printableJson } from '../../util/printable.ts';
import type { Application } from '../application.ts';
import { refuseOutsider } from '../networks/operator-access.ts';
import type { RequestContext } from '../request-context.ts';
import { sendDocument, varyBy } from '../respond.ts';
import { isPreferred } from '../routing/accept.ts';
import type { StatusRoute } from '../routing/route.ts';
import { collectStatus } from '../status/collect-status.ts';
import { STATUS_POLICY, statusPage } from '../status/status-page.ts';

/** No cache may keep it, no other page may embed it, and a browser must not take it for another type. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
};

/**
 * Answers with what the service is doing: as a page to a client that asks for HTML, else as JSON.
 *
 * @throws PassthroughError `CLIENT_NOT_ALLOWED`
 */
export async function handleStatus(
  context: RequestContext,
  { showsClients, isRefreshed }: StatusRoute,
  app: Application,
): Promise<void> {
  const { request, response } = context;
  refuseOutsider(context, app.config.access.statusNetworks);
  varyBy(response, 'Accept');
  const status = collectStatus(app, showsClients);
  if (!isPreferred(request.headers.accept, 'text/html')) {
    const json = Buffer.from(`${printableJson(status)}\n`);
    return sendDocument(context, json, { ...HEADERS, 'Content-Type': 'application/json' });
  }
  const page = Buffer.from(statusPage(status, { showsClients, isRefreshed }));
  sendDocument(context, page, {
    ...HEADERS,
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': STATUS_POLICY,
  });
}
