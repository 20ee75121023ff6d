import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LAYOUTS } from '../../src/archive/archive.ts';
import * as iox from '../../src/archive/iox/settings.ts';
import {
  type Choice,
  DISKS,
  FIELDS,
  LAYOUT_CHOICES,
  MAX_SIZES,
  NO_CHOICE,
  PROFILES,
  readChoice,
  readControls,
  writeChoice,
} from '../../src/web/choice.ts';
import { readImageLine } from '../../src/web/image-line.ts';

const text = fc.string({
  maxLength: 60,
  unit: fc.constantFrom(...'abcXYZ019 ./:_-%&=#+?"<>\'é漢'.split('')),
});

/** No command: of one, the image alone is written. */
const image = text.filter((line) => !/\s/.test(line) && readImageLine(line).image === line);

const anyChoice: fc.Arbitrary<Choice> = fc.record({
  service: text,
  image,
  platform: text,
  layout: fc.constantFrom(...LAYOUT_CHOICES),
  profile: fc.constantFrom(...PROFILES),
  cpu: text,
  memory: text,
  space: text,
  format: fc.constantFrom('tar', 'tgz'),
  start: fc.constantFrom('prepared', 'early'),
  since: text,
  scheme: fc.constantFrom('https', 'http'),
  credentials: fc.constantFrom('service', 'client'),
  disk: fc.constantFrom(...DISKS),
});

test('the layouts are those of archives', () =>
  assert.deepEqual(LAYOUT_CHOICES.toSorted(), LAYOUTS.toSorted()));

test('the sizes of applications are those of packages', () => {
  assert.deepEqual(PROFILES, ['', ...iox.PROFILES, 'custom']);
  const { cpu, memory, disk } = iox.MAX_SIZES;
  assert.deepEqual(MAX_SIZES, { cpu, memory, space: disk });
});

describe('a choice', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(anyChoice, (choice) => assert.deepEqual(readChoice(writeChoice(choice)), { ...choice })),
    );
  });

  test('is read as it was written, also as the fragment of an address', () => {
    fc.assert(
      fc.property(anyChoice, (choice) => {
        const { hash } = new URL(`#${writeChoice(choice)}`, 'http://service.example/');
        assert.deepEqual(readChoice(hash), { ...choice });
      }),
    );
  });

  test('is empty in an empty address', () => {
    assert.equal(writeChoice(NO_CHOICE), '');
    for (const address of ['', '#', '?', '#x', '#=', '#__proto__=1&constructor=2']) {
      assert.deepEqual(readChoice(address), NO_CHOICE);
    }
  });

  test('has the values of the controls; a box that is not checked has none', () => {
    const values = new Map([
      ['image', 'a b'],
      ['layout', 'oci'],
      ['format', 'tgz'],
      ['disk', 'nvram:'],
      ['other', 'x'],
    ]);
    assert.deepEqual(
      readControls((name) => values.get(name) ?? null),
      {
        ...NO_CHOICE,
        ...{ image: 'a b', layout: 'oci', format: 'tgz' },
      },
    );
  });
});

describe('credentials never get into an address', () => {
  for (const image of [
    'user:secret@ghcr.io/app',
    'https://u:secret@h/x',
    'secret@',
    'app:1@secret',
    '@secret',
  ]) {
    for (const field of ['image', 'since', 'service'] as const) {
      test(`${image} in ${field}`, () => {
        const written = writeChoice({ ...NO_CHOICE, [field]: image, layout: 'oci' });
        assert.equal(written, 'layout=oci');
        assert.deepEqual(readChoice(`#${field}=${encodeURIComponent(image)}`), NO_CHOICE);
      });
    }
  }

  const lines: readonly [line: string, written: string][] = [
    ['podman pull --creds user:secret ghcr.io/org/app:1', 'image=ghcr.io/org/app:1'],
    ['ctr images pull -u user:secret --platform linux/arm64 a.io/b:1', 'image=a.io/b:1&platform=linux/arm64'],
    ['skopeo copy --src-creds=user:secret docker://a.io/b:1 dir:x', 'image=a.io/b:1'],
    ['docker login -u user -p secret', ''],
    ['curl -u user:secret http://a.io/', ''],
  ];
  for (const [line, written] of lines) {
    test(`${line}: of a command the image is written`, () =>
      assert.equal(writeChoice({ ...NO_CHOICE, image: line }), written));
  }

  test('but digests do', () => {
    const image = `app@sha256:${'a'.repeat(64)}`;
    assert.equal(readChoice(writeChoice({ ...NO_CHOICE, image })).image, image);
  });
});

describe('a hostile address', () => {
  const table: readonly [name: string, fragment: string][] = [
    ['a layout that is none', 'layout=<script>'],
    ['a disk with a command', `disk=${encodeURIComponent('flash:\nreload')}`],
    ['a line break in an image', 'image=nginx%0Areload'],
    ['a bidirectional mark', `image=${encodeURIComponent('nginx\u202E1:')}`],
    ['a text of 10 MB', `image=${'a'.repeat(10_000_000)}`],
    ['a NUL', 'since=%00'],
    ['a lone surrogate in bytes', 'platform=%ED%A0%80%0D'],
    ['credentials twice encoded fields', 'credentials=user%3Apassword'],
  ];
  for (const [name, fragment] of table) {
    test(name, () => assert.deepEqual(readChoice(`#${fragment}`), NO_CHOICE));
  }

  test('the fields have no other names', () =>
    assert.deepEqual(FIELDS.toSorted(), Object.keys(NO_CHOICE).toSorted()));
});
