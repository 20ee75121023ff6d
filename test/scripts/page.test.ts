import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { WEBSITE, website } from '../../scripts/page.ts';

const text = await readFile(join(import.meta.dirname, '..', '..', WEBSITE), 'utf8');
const inline = (tag: string) => new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(text)?.[1] ?? '';

describe(WEBSITE, () => {
  test('is what the sources make', async () => {
    assert.ok(text === (await website()), 'it is out of date: npm run page writes it');
  });

  test('has a policy for its own code, which may ask any service', () => {
    const [, policy = ''] = /<meta http-equiv="Content-Security-Policy" content="([^"]*)">/.exec(text) ?? [];
    for (const tag of ['script', 'style']) {
      const hash = createHash('sha256').update(inline(tag)).digest('base64');
      assert.ok(policy.includes(`${tag}-src &#39;sha256-${hash}&#39;`), policy);
    }
    assert.match(
      policy,
      /^default-src &#39;none&#39;; .*connect-src http: https:; form-action &#39;none&#39;$/,
    );
  });

  test('asks for the address of a service, and has the parts of the website', () => {
    assert.match(text, /<input [^>]*name="service"/);
    for (const id of ['flows', 'registries', 'telemetry', 'image', 'validation']) {
      assert.match(text, new RegExp(`<section [^>]*id="${id}"`));
      assert.match(text, new RegExp(`<a href="#${id}"`));
    }
    for (const registry of ['docker.io', 'ghcr.io', 'registry.example.com%3A5000', '10.10.20.30%3A5000']) {
      assert.ok(text.includes(`/${registry}/`), registry);
    }
  });
});
