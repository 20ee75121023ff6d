import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { getDomain } from 'tldts';
import { SUFFIXES_FILE, suffixesText } from '../../scripts/public-suffixes.ts';
import { PUBLIC_SUFFIXES } from '../../src/registry/auth/public-suffixes.ts';
import { registrableDomain } from '../../src/registry/auth/registrable-domain.ts';

test('the rules are those of the installed package', async () => {
  assert.ok((await readFile(SUFFIXES_FILE, 'utf8')) === suffixesText(), 'run `npm run suffixes`');
});

test('every rule gives the domain that the package gives', () => {
  const rules = PUBLIC_SUFFIXES.split(';').flatMap((group) => {
    const [top, ...below] = group.trim().split(' ');
    return below.map((rule) => `${rule}.${top}`);
  });
  assert.ok(rules.length > 8000, `${rules.length} rules`);
  for (const rule of rules) {
    const name = rule.replace(/^!/, '').replace(/^\*/, 'x');
    for (const host of [name, `one.${name}`, `registry.one.${name}`]) {
      const domain = registrableDomain(host);
      // Names below a domain that the list lacks have none.
      const isShared = domain === undefined && /\.(?:amazonaws\.com|azure\.com|windows\.net)$/.test(host);
      if (!isShared) assert.equal(domain, getDomain(host, { allowPrivateDomains: true }) ?? undefined, host);
    }
  }
});
