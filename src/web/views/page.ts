/** The whole page, as the server writes it. */

import type { Choice } from '../choice.ts';
import { type Element, el, toHtml, type View } from '../element.ts';
import type { TargetResult } from '../target.ts';
import { SERVER_TEXTS, TEXTS } from '../texts.ts';
import { formView } from './form.ts';
import { downloadView, resultsView } from './results.ts';

/** Script and styles of the page, minified. */
export interface PageCode {
  readonly script: string;
  readonly style: string;
}

/** What a page is made of. */
export interface PageOptions extends PageCode {
  readonly choice: Choice;
  readonly result: TargetResult;
  /** Origin of the service; `undefined` if it is typed. */
  readonly origin: string | undefined;
  /** Policy for a page that no server sends with headers. */
  readonly metaPolicy?: string;
  /** Further parts of the website. */
  readonly sections?: readonly Element[];
  /** A link behind those to the parts of the website. */
  readonly documents?: Element;
}

/** An icon without a request: an archive box. */
const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%232274c9' d='M1 2h14v4H1zm1 5h12v7H2zm4 2v1.5h4V9z'/%3E%3C/svg%3E";

/** The page as HTML. Script and styles are written as they are; all else is escaped. */
export function pageHtml(options: PageOptions): string {
  const { script, style, metaPolicy, sections = [] } = options;
  const isStandalone = options.sections !== undefined;
  const head = [
    el('meta', { charset: 'utf-8' }),
    metaPolicy !== undefined && el('meta', { 'http-equiv': 'Content-Security-Policy', content: metaPolicy }),
    el('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    el('meta', { name: 'color-scheme', content: 'light dark' }),
    el('meta', { name: 'referrer', content: 'no-referrer' }),
    el('link', { rel: 'icon', href: ICON }),
    el('title', {}, SERVER_TEXTS.title),
  ].filter((view) => view !== false);
  return [
    '<!doctype html>',
    `<html lang="${SERVER_TEXTS.language}">`,
    `<head>${head.map(toHtml).join('')}<style>${style}</style></head>`,
    `<body${isStandalone ? ' data-standalone' : ''}>`,
    ...bodyViews(options, sections).map(toHtml),
    `<script>${script}</script>`,
    '</body></html>\n',
  ].join('\n');
}

function bodyViews(options: PageOptions, sections: readonly Element[]): readonly View[] {
  const { choice, result } = options;
  const isStandalone = options.sections !== undefined;
  const { details } = TEXTS;
  return [
    el('a', { class: 'skip', href: '#results' }, SERVER_TEXTS.skip),
    el(
      'header',
      { class: 'top' },
      el('h1', {}, SERVER_TEXTS.title),
      el('p', {}, SERVER_TEXTS.tagline),
      isStandalone && contents(sections, options.documents),
    ),
    el(
      'main',
      {},
      el(
        'div',
        { class: 'columns' },
        el(
          'div',
          { class: 'column' },
          card('image-card', SERVER_TEXTS.heading, formView(choice, result.faults, { isStandalone })),
          card('inside', details.heading, el('div', { id: 'details' }), true),
        ),
        el('div', { class: 'column' }, card('results', SERVER_TEXTS.results, resultsCard(options))),
      ),
      sections,
    ),
    el('p', { id: 'status', class: 'toast', role: 'status' }),
    el('footer', {}, el('p', {}, isStandalone ? SERVER_TEXTS.tagline : SERVER_TEXTS.footer)),
  ];
}

/** Download, progress and commands. What needs a script is hidden until it runs. */
function resultsCard({ choice, result, origin }: PageOptions): Element {
  return el(
    'div',
    {},
    el(
      'div',
      { class: 'actions' },
      el('div', { id: 'download' }, downloadView(result, origin)),
      el('button', { type: 'button', id: 'prepare', hidden: true }, SERVER_TEXTS.prepare),
      el('button', { type: 'button', id: 'cancel', hidden: true }, SERVER_TEXTS.cancel),
      el('button', { type: 'button', id: 'share', hidden: true }, SERVER_TEXTS.share),
    ),
    el('p', { class: 'hint', id: 'prepare-hint', hidden: true }, SERVER_TEXTS.prepareHint),
    el('div', { id: 'progress' }),
    el('div', { id: 'commands' }, resultsView(choice, result, { origin, hasScript: false })),
  );
}

function card(id: string, heading: string, content: Element, isHidden = false): Element {
  return el(
    'section',
    {
      class: 'card',
      id,
      'aria-labelledby': `${id}-heading`,
      hidden: isHidden,
      tabindex: id === 'results' ? -1 : undefined,
    },
    el('h2', { id: `${id}-heading` }, heading),
    content,
  );
}

function contents(sections: readonly Element[], documents: Element | undefined): Element {
  return el(
    'nav',
    { 'aria-label': SERVER_TEXTS.contents },
    el(
      'ul',
      {},
      sections.map(({ attributes, children: [heading] }) =>
        el(
          'li',
          {},
          el('a', { href: `#${attributes['id']}` }, ...(typeof heading === 'object' ? heading.children : [])),
        ),
      ),
      documents !== undefined && el('li', {}, documents),
    ),
  );
}
