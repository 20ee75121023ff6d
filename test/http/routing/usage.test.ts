/** The text of `GET /`: what a reader without the documents needs to type a request. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LAYOUTS } from '../../../src/archive/archive.ts';
import { ROUTES } from '../../../src/http/routes.ts';
import { PREFIXES } from '../../../src/http/routing/prefixes.ts';
import { usageText } from '../../../src/http/routing/usage.ts';

const TEXT = usageText('images.example:8080', ROUTES, 'https');

describe('the usage text', () => {
  test('has an example of a private image, with the credentials of the client', () => {
    assert.match(
      TEXT,
      /^ {2}curl --fail -u \S+ -O https:\/\/images\.example:8080\/registry-auth\/https\/\S+\.tar$/m,
    );
  });

  for (const prefix of PREFIXES) {
    test(`has the prefix /${prefix}`, () => assert.match(TEXT, new RegExp(`^ {2}GET /${prefix}[/ ]`, 'm')));
  }

  for (const layout of LAYOUTS) {
    test(`has the layout ${layout}`, () =>
      assert.match(TEXT, new RegExp(`^Layouts: .*\\b${layout}\\b`, 'm')));
  }
});
