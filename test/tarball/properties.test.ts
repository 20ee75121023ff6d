/** Archives that were changed by chance: they are read as they were, or refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isPassthroughError } from '../../src/errors.ts';
import { verify } from '../../src/tarball/verify.ts';
import { FLAVOURS, type Flavour, tarOf } from './flavours.ts';

/** How an archive may be refused. */
const CODES = ['INVALID_ARCHIVE', 'VERIFICATION_FAILED', 'UNSUPPORTED_IMAGE', 'IMAGE_TOO_LARGE'] as const;

const archives = Object.values(FLAVOURS).map(({ files }: Flavour) => tarOf(files));

async function* streamOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield Uint8Array.from(bytes);
}

/** The report as JSON, or `refused`. */
async function outcomeOf(source: Parameters<typeof verify>[0]): Promise<string> {
  try {
    return JSON.stringify(await verify(source));
  } catch (error) {
    assert.ok(isPassthroughError(error, ...CODES), String(error));
    return 'refused';
  }
}

test('a file and a stream give the same, whatever was changed', async () => {
  const changes = fc.record({
    archive: fc.integer({ min: 0, max: archives.length - 1 }),
    bytes: fc.array(
      fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 0, max: 255 })),
      {
        maxLength: 4,
      },
    ),
  });
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(changes, async ({ archive, bytes }) => {
      const changed = Buffer.from(archives[archive] ?? []);
      for (const [at, byte] of bytes) changed[Math.floor(at * changed.length)] = byte;
      const outcome = await outcomeOf(changed);
      if (outcome === 'refused') refused += 1;
      assert.equal(await outcomeOf(streamOf(changed)), outcome);
    }),
    { numRuns: 300 },
  );
  assert.ok(refused > 10, `${refused} refused`);
});

test('a byte of a layer or a config that changes is found', async () => {
  for (const [what, { files }] of Object.entries(FLAVOURS)) {
    const archive = tarOf(files);
    const config = archive.indexOf('"rootfs"');
    const layer = archive.indexOf('base\0');
    for (const at of [config, layer]) {
      if (at === -1) continue;
      const changed = Buffer.from(archive);
      changed[at + 1] = (changed[at + 1] ?? 0) ^ 1;
      assert.equal(await outcomeOf(changed), 'refused', what);
    }
  }
});
