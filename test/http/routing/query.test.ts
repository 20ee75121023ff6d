import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  chooseCompression,
  chooseLayout,
  choosePlatform,
  oneOf,
  single,
} from '../../../src/http/routing/query.ts';

const query = (text: string) => new URLSearchParams(text);
const refused = (code: string, message: RegExp) => ({ name: 'PassthroughError', code, message });

describe('choosePlatform', () => {
  for (const [fromPath, text, platform] of [
    [undefined, '', undefined],
    ['linux/arm64', '', 'linux/arm64'],
    [undefined, 'platform=linux/arm64', 'linux/arm64'],
    [undefined, 'arch=linux%2Farm%2Fv7', 'linux/arm/v7'],
    [undefined, 'platform=linux/arm64?x', 'linux/arm64?x'],
    [undefined, 'arch=linux/arm64&platform=linux/arm64', 'linux/arm64'],
    ['linux/arm64', 'platform=linux/arm64&arch=linux/arm64', 'linux/arm64'],
    [undefined, 'name=x&%zz', undefined],
  ] as const) {
    test(`${fromPath} with ?${text} is ${platform}`, () => {
      assert.equal(choosePlatform(fromPath, query(text)), platform);
    });
  }

  for (const [fromPath, text] of [
    ['linux/arm64', 'platform=linux/amd64'],
    [undefined, 'platform=linux/arm64&arch=linux/amd64'],
  ] as const) {
    test(`${fromPath} with ?${text} is refused`, () => {
      const message = /the request names "linux\/arm64" and "linux\/amd64"$/;
      assert.throws(() => choosePlatform(fromPath, query(text)), refused('INVALID_PLATFORM', message));
    });
  }
});

test('the layout is docker unless the query names one, in any case', () => {
  for (const [text, layout] of [
    ['', 'docker'],
    ['layout=docker', 'docker'],
    ['layout=docker-gzip', 'docker-gzip'],
    ['layout=OCI', 'oci'],
  ] as const) {
    assert.equal(chooseLayout(query(text)), layout);
  }
});

test('the compression is gzip unless the format is tar', () => {
  for (const text of ['', 'format=tgz', 'format=tar.gz'])
    assert.equal(chooseCompression(query(text)), 'gzip');
  for (const text of ['format=tar', 'format=TAR']) assert.equal(chooseCompression(query(text)), 'none');
});

describe('a parameter is refused', () => {
  for (const [text, choose, message] of [
    ['format=zip', chooseCompression, /format="zip": expected one of tgz, tar\.gz, tar$/],
    ['format=', chooseCompression, /format: expected it once, and not empty/],
    ['format=tar&format=tgz', chooseCompression, /format: expected it once, and not empty/],
    ['layout=tar', chooseLayout, /layout="tar": expected one of docker, docker-gzip, oci, iox$/],
    ['name=', (one: URLSearchParams) => single(one, 'name'), /name: expected it once, and not empty/],
    ['name=a&name=b', (one: URLSearchParams) => single(one, 'name'), /name: expected it once/],
    [
      'type=list',
      (one: URLSearchParams) => oneOf(one, 'type', ['index', 'image']),
      /expected one of index, image$/,
    ],
  ] as const) {
    test(text, () => assert.throws(() => choose(query(text)), refused('INVALID_REFERENCE', message)));
  }
});
