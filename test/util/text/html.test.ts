import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { escapeHtml, html } from '../../../src/util/text/html.ts';

describe('a page made of templates', () => {
  test('shows text as text, whatever is in it', () => {
    const evil = `<script>alert(1)</script> " ' & javascript:x`;
    const text = '&lt;script&gt;alert(1)&lt;/script&gt; &quot; &#39; &amp; javascript:x';
    assert.equal(String(html`<p title="${evil}">${evil}</p>`), `<p title="${text}">${text}</p>`);
    assert.equal(escapeHtml(evil), text);
  });

  test('shows what a reader cannot see as an escape, and cuts what is too long', () => {
    assert.equal(String(html`${'a\u202eb\u0000c\nd\u200b'}`), 'a\\u202eb\\u0000c\\nd\\u200b');
    const cut = String(html`${'<'.repeat(10_000)}`);
    assert.equal(cut, `${'&lt;'.repeat(2000)}…`);
  });

  test('takes templates, lists of them, numbers and nothing', () => {
    const items = ['<', 'b'].map((item) => html`<li>${item}</li>`);
    assert.equal(String(html`<ul>${items}</ul>${undefined}${0}`), '<ul><li>&lt;</li><li>b</li></ul>0');
    assert.equal(String(html`${html`<b>${'<'}</b>`}`), '<b>&lt;</b>', 'nothing is escaped twice');
  });
});
