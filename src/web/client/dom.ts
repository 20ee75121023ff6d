/** Views as nodes of the document, and the elements that the page is sure to have. */

import { isSvg, type View } from '../element.ts';

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

/** Makes nodes of views. */
export function toNode(view: View, isInSvg = false): Node {
  if (typeof view === 'string') return document.createTextNode(view);
  const { tag, attributes, children } = view;
  const inSvg = isSvg(tag, isInSvg);
  const element = inSvg ? document.createElementNS(SVG_NAMESPACE, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map((child) => toNode(child, inSvg)));
  return element;
}

/** Replaces the content of an element. The focus stays at the element of the same id or label. */
export function show(parent: Element, views: readonly View[]): void {
  const focused = document.activeElement;
  const key = focused !== null && parent.contains(focused) ? keyOf(focused) : undefined;
  parent.replaceChildren(...views.map((view) => toNode(view)));
  if (key === undefined) return;
  const again = [...parent.querySelectorAll<HTMLElement>('[id], [aria-label]')].find(
    (node) => keyOf(node) === key,
  );
  again?.focus({ preventScroll: true });
}

function keyOf(element: Element): string {
  return `${element.id} ${element.getAttribute('aria-label') ?? ''}`;
}

/**
 * The element of an ID.
 *
 * @param type its class
 * @throws Error if the page has none: a fault of this program
 */
export function byId<T extends Element>(id: string, type: abstract new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`No element ${id}`);
}

/** Calls a function when nothing has happened for some time. */
export function debounce(ms: number, run: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  };
}
