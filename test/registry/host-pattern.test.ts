import assert from 'node:assert/strict';
import test from 'node:test';
import { matchesHost, parseHostPattern } from '../../src/registry/host-pattern.ts';

const ROWS: readonly [pattern: string, matching: readonly string[], others: readonly string[]][] = [
  [
    'ghcr.io',
    ['https://ghcr.io', 'http://ghcr.io', 'https://ghcr.io:8443/path', 'https://GHCR.io'],
    ['https://www.ghcr.io', 'https://ghcr.io.example.com', 'https://xghcr.io'],
  ],
  ['GHCR.io', ['https://ghcr.io'], ['https://gcr.io']],
  [
    '*.example.com',
    ['https://a.example.com', 'http://a.b.example.com:5000'],
    ['https://example.com', 'https://aexample.com', 'https://a.example.com.evil.test', 'https://example.org'],
  ],
  [
    '10.0.0.5:5000',
    ['http://10.0.0.5:5000', 'https://10.0.0.5:5000'],
    ['http://10.0.0.5', 'http://10.0.0.6:5000'],
  ],
  ['example.com:443', ['https://example.com', 'http://example.com:443'], ['http://example.com']],
  ['example.com:80', ['http://example.com', 'https://example.com:80'], ['https://example.com']],
  ['https://example.com', ['https://example.com', 'https://example.com:8443'], ['http://example.com']],
  ['HTTP://lab.example.com', ['http://lab.example.com'], ['https://lab.example.com']],
  [
    'https://*.example.com:8443',
    ['https://a.example.com:8443'],
    ['https://a.example.com', 'http://a.example.com:8443'],
  ],
  ['[2001:DB8::1]', ['https://[2001:db8::1]', 'http://[2001:db8:0::1]:5000'], ['https://[2001:db8::2]']],
  ['docker.io', ['https://registry-1.docker.io'], ['https://docker.io', 'https://auth.docker.io']],
  ['index.docker.io', ['https://registry-1.docker.io'], ['https://index.docker.io']],
  ['*.docker.io', ['https://registry-1.docker.io', 'https://auth.docker.io'], ['https://docker.io']],
];

for (const [pattern, matching, others] of ROWS) {
  test(`${pattern} matches its hosts alone`, () => {
    const parsed = parseHostPattern(pattern);
    for (const url of matching) assert.equal(matchesHost(parsed, new URL(url)), true, url);
    for (const url of others) assert.equal(matchesHost(parsed, new URL(url)), false, url);
  });
}

test('an invalid entry is refused', () => {
  const entries = `* *. *example.com a.*.example.com **.example.com ftp://example.com https://
    https://example.com/ https://user:pw@example.com example.com:0 2852039166`;
  for (const entry of ['', 'example.com, example.org', ...entries.split(/\s+/)]) {
    assert.throws(() => parseHostPattern(entry), { code: 'INVALID_REGISTRY' }, JSON.stringify(entry));
  }
});
