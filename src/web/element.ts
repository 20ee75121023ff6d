/**
 * Views: trees of elements and texts. The server writes them as HTML, the browser makes nodes of them. Text is text in both, whatever
 * a registry or an address has put into it.
 */

/** An element of a page. */
export interface Element {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly View[];
}

/** An element or a text. */
export type View = Element | string;

/** Attributes as they are written: `true` stands for an attribute without a value, `undefined` and `false` for none. */
export type AttributeValues = Readonly<Record<string, string | number | boolean | undefined>>;

/** Elements without content: https://html.spec.whatwg.org/multipage/syntax.html#void-elements */
const VOID: ReadonlySet<string> = new Set(['br', 'hr', 'img', 'input', 'link', 'meta']);

/** Elements of SVG that views use. Browsers make them in a namespace of their own. */
const SVG: ReadonlySet<string> = new Set(
  'svg g path rect circle line text title desc polygon defs marker tspan'.split(' '),
);

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Makes an element.
 *
 * @param children texts and elements; lists are flattened, `undefined` and `false` are left out
 */
export function el(
  tag: string,
  attributes: AttributeValues = {},
  ...children: readonly (View | readonly View[] | undefined | false)[]
): Element {
  const written = Object.entries(attributes).flatMap(([name, value]) =>
    value === undefined || value === false ? [] : [[name, value === true ? '' : String(value)] as const],
  );
  return {
    tag,
    attributes: Object.fromEntries(written),
    children: children.flat().filter((child) => child !== undefined && child !== false) as View[],
  };
}

/** Whether an element is one of SVG; `title` is one below `svg` only. */
export function isSvg(tag: string, isInSvg: boolean): boolean {
  return tag === 'svg' || (isInSvg && SVG.has(tag));
}

/** A text as it stands in HTML, also in the quotes of an attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);
}

/** A view as HTML. */
export function toHtml(view: View): string {
  if (typeof view === 'string') return escapeHtml(view);
  const { tag, attributes, children } = view;
  const written = Object.entries(attributes)
    .map(([name, value]) => (value === '' ? ` ${name}` : ` ${name}="${escapeHtml(value)}"`))
    .join('');
  if (VOID.has(tag)) return `<${tag}${written}>`;
  return `<${tag}${written}>${children.map(toHtml).join('')}</${tag}>`;
}
