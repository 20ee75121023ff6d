import { createHash } from 'node:crypto';
import type { Count } from '../../pull/progress.ts';
import { formatBytes } from '../../util/text/format-bytes.ts';
import { type Html, html } from '../../util/text/html.ts';
import type { DownloadRow, PreparingRow, StatusDocument } from './collect-status.ts';

/** Seconds after which the page asks again. */
const REFRESH_S = 5;

const STYLE = `
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fff; --line: #c9ced6; --soft: #5a626e; --bad: #a3131f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #15181c; --line: #3d444d; --soft: #a4acb8; --bad: #ff8d8d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 0.25rem; }
p { margin: 0.25rem 0; color: var(--soft); }
a { color: inherit; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.75rem; margin: 1rem 0; }
dl div { border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.5rem 0.75rem; }
dt { color: var(--soft); font-size: 0.875rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.75rem 0.3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td { white-space: nowrap; }
td:first-child { min-width: 14rem; white-space: normal; overflow-wrap: anywhere; }
progress { width: 8rem; max-width: 100%; }
.bad { color: var(--bad); }
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** What the page may do: show its own style. https://www.w3.org/TR/CSP3/ */
export const STATUS_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** What a request for the page says. */
export interface StatusPageOptions {
  readonly showsClients: boolean;
  readonly isRefreshed: boolean;
}

/** What the service is doing, as a page without scripts. All text in it is escaped. */
export function statusPage(status: StatusDocument, options: StatusPageOptions): string {
  const { showsClients, isRefreshed } = options;
  const refresh = html`<meta http-equiv="refresh" content="${REFRESH_S}">`;
  const time = new Date(new Date(status.startedAt).getTime() + status.seconds * 1000);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
${isRefreshed ? refresh : undefined}
<title>Status: docker-http-passthrough</title>
`;
  const body = html`</head>
<body>
<main>
<h1>docker-http-passthrough ${status.version}</h1>
<p>${status.state} since ${timeOf(status.startedAt)}, shown as of ${timeOf(time)}.
${links(options)}</p>
<dl>
${summary(status)}
</dl>
${section(
  'In preparation',
  status.preparing.count,
  ['Image', 'Layout', 'State', 'Layers', 'Bytes', 'For', 'Waiting', ...(showsClients ? ['Clients'] : [])],
  status.preparing.rows.map((row) => preparingCells(row, showsClients)),
)}
${section(
  'Downloads',
  status.downloads.count,
  ['Image', 'Layout', 'Sent', 'For', ...(showsClients ? ['Client'] : [])],
  status.downloads.rows.map((row) => downloadCells(row, showsClients)),
)}
${section(
  'Registries',
  status.registries.length,
  ['Server', 'In flight', 'Succeeded', 'Failed', 'Last success', 'Last failure'],
  status.registries.map((server) => [
    cell(server.origin),
    cell(server.inFlight),
    cell(server.succeeded),
    cell(server.failed),
    html`<td>${server.lastSuccess === undefined ? '–' : timeOf(server.lastSuccess)}</td>`,
    server.lastFailure === undefined
      ? cell('–')
      : html`<td>${timeOf(server.lastFailure.at)} <span class="bad">${server.lastFailure.code}</span></td>`,
  ]),
)}
${
  status.mirrors.length === 0
    ? undefined
    : section(
        'Mirrors',
        status.mirrors.length,
        ['Mirror', 'State', 'Fails since', 'Until', 'Last error'],
        status.mirrors.map(({ mirror, state, since, until, lastError }) => [
          cell(mirror),
          state === 'asked' ? cell(state) : html`<td class="bad">${state.replace('-', ' ')}</td>`,
          html`<td>${since === undefined ? '–' : timeOf(since)}</td>`,
          html`<td>${until === undefined ? '–' : timeOf(until)}</td>`,
          cell(lastError),
        ]),
      )
}${section(
  'Last errors',
  status.errors.length,
  ['Error', 'Code', 'Route', 'Times', 'Last', 'Request', ...(showsClients ? ['Client'] : [])],
  status.errors.map(({ line, code, route, count, at, requestId, client }) => [
    cell(line),
    html`<td class="bad">${code}</td>`,
    cell(route),
    cell(count),
    html`<td>${timeOf(at)}</td>`,
    cell(requestId),
    ...(showsClients ? [cell(client)] : []),
  ]),
)}
</main>
</body>
</html>
`;
  // The hash is of this very text, so no template may touch it.
  return `${page}<style>${STYLE}</style>\n${body}`;
}

/** Links to the other forms of the page. Each is one of four texts, none from outside. */
function links({ showsClients, isRefreshed }: StatusPageOptions): Html {
  const clients = showsClients ? 'no' : 'yes';
  const refresh = isRefreshed ? 'no' : 'yes';
  return html`<a href="?clients=${showsClients ? 'yes' : 'no'}&amp;refresh=${refresh}">${
    isRefreshed ? `Stop the refresh every ${REFRESH_S} s` : `Refresh every ${REFRESH_S} s`
  }</a> · <a href="?clients=${clients}&amp;refresh=${isRefreshed ? 'yes' : 'no'}">${
    showsClients ? 'Hide clients' : 'Show clients'
  }</a>`;
}

function summary(status: StatusDocument): readonly Html[] {
  const { connections, queue, cache, requests, memoryBytes } = status;
  const { hitRate } = cache;
  const facts: readonly (readonly [name: string, text: string])[] = [
    ['Uptime', formatSeconds(status.seconds)],
    ['Connections', `${connections.open} of ${connections.max}`],
    ['Requests', `${requests.active}, ${requests.listeners} of them listening`],
    ['Preparations', `${queue.running} running, ${queue.waiting} of ${queue.maxWaiting} waiting`],
    ['Cache', `${formatBytes(cache.bytes)} of ${formatBytes(cache.maxBytes)}, ${cache.files} files`],
    ['Hit rate', hitRate === undefined ? 'no request yet' : `${(hitRate * 100).toFixed(1)} %`],
    ['Evicted', `${cache.evicted} files`],
    ['Memory', formatBytes(memoryBytes)],
  ];
  return facts.map(([name, text]) => html`<div><dt>${name}</dt><dd>${text}</dd></div>\n`);
}

function preparingCells(row: PreparingRow, showsClients: boolean): readonly Html[] {
  const { image, layout, platform, state, layers, bytes, seconds, requests, preparations, clients } = row;
  const waiting = preparations === 0 ? String(requests) : `${requests}, and ${preparations} beforehand`;
  return [
    cell(image),
    cell([layout, platform].filter((text) => text !== undefined).join(', ')),
    cell(state),
    cell(layers && `${layers.done} of ${layers.total}`),
    html`<td>${bytes && progressOf(bytes)}</td>`,
    cell(formatSeconds(seconds)),
    cell(waiting),
    ...(showsClients ? [cell(clients?.join(', '))] : []),
  ];
}

function downloadCells(row: DownloadRow, showsClients: boolean): readonly Html[] {
  const { image, layout, platform, bytes, seconds, client } = row;
  const { done, total } = bytes;
  return [
    cell(image),
    cell([layout, platform].filter((text) => text !== undefined).join(', ')),
    html`<td>${total === undefined ? formatBytes(done) : progressOf({ done, total })}</td>`,
    cell(formatSeconds(seconds)),
    ...(showsClients ? [cell(client)] : []),
  ];
}

function section(
  title: string,
  count: number,
  heads: readonly string[],
  rows: readonly (readonly Html[])[],
): Html {
  const more = count > rows.length ? html`<p>The first ${rows.length} of ${count}.</p>` : undefined;
  const id = title.toLowerCase().replaceAll(' ', '-');
  if (rows.length === 0) return html`<h2>${title}</h2>\n<p>None.</p>`;
  return html`<h2 id="${id}">${title}</h2>
<div class="table" role="region" aria-labelledby="${id}" tabindex="0">
<table>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>
${rows.map((cells) => html`<tr>${cells}</tr>\n`)}</tbody>
</table>
</div>
${more}`;
}

function cell(value: string | number | undefined): Html {
  return html`<td>${value ?? '–'}</td>`;
}

function progressOf({ done, total }: Count): Html {
  const text = `${formatBytes(done)} of ${formatBytes(total)}`;
  return html`<progress value="${done}" max="${Math.max(total, 1)}" aria-label="${text}"></progress> ${text}`;
}

function timeOf(time: string | Date): Html {
  const text = new Date(time).toISOString();
  return html`<time datetime="${text}">${text.slice(0, 19).replace('T', ' ')} UTC</time>`;
}

/** Seconds as a reader says them: `45 s`, `12 min`, `3 h 5 min`, `12 d 4 h`. */
function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
