import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { el, escapeHtml, toHtml } from '../../src/web/element.ts';

describe('HTML of a view', () => {
  const table: readonly [name: string, view: Parameters<typeof toHtml>[0], html: string][] = [
    ['text', 'a < b & c', 'a &lt; b &amp; c'],
    ['an element', el('p', { id: 'x' }, 'y', el('b', {}, 'z')), '<p id="x">y<b>z</b></p>'],
    [
      'markup in a text',
      el('p', {}, '<img src=x onerror=alert(1)>'),
      '<p>&lt;img src=x onerror=alert(1)&gt;</p>',
    ],
    [
      'quotes in an attribute',
      el('a', { title: `"'><script>` }),
      '<a title="&quot;&#39;&gt;&lt;script&gt;"></a>',
    ],
    [
      'attributes without a value',
      el('input', { checked: true, hidden: false, name: undefined, value: '' }),
      '<input checked value>',
    ],
    ['a number', el('td', { colspan: 2 }), '<td colspan="2"></td>'],
    ['children that are left out', el('p', {}, false, undefined, ['a', 'b']), '<p>ab</p>'],
    ['an element without content', el('br'), '<br>'],
  ];
  for (const [name, view, html] of table) test(name, () => assert.equal(toHtml(view), html));

  test('any text is text, and is read back as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const html = escapeHtml(text);
        assert.doesNotMatch(html, /[<>"']/);
        assert.equal(unescaped(html), text);
      }),
    );
  });
});

/** What a parser of HTML makes of the references that are written. */
function unescaped(html: string): string {
  const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
  return html.replace(/&([a-z0-9#]+);/g, (_, name: string) => named[name] ?? '?');
}
