import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { endOfGzip } from '../../src/streams/gzip-end.ts';
import { noise } from '../support/noise.ts';
import { chunksOf } from './chunks.ts';

const NEVER = new AbortController().signal;

const SMALL = gzipSync(noise('small', 700));
const LARGE = gzipSync(noise('large', 200_000));

const STREAMS: Readonly<Record<string, Buffer>> = {
  'one member': SMALL,
  'several members': Buffer.concat([SMALL, gzipSync(Buffer.alloc(0)), SMALL]),
  'members of many pieces': Buffer.concat([LARGE, SMALL, LARGE]),
};

const TAILS: Readonly<Record<string, Buffer>> = {
  'one byte': Buffer.from('x'),
  text: Buffer.from('other bytes'),
  'the first byte of a member, and others': Buffer.from([0x1f, 0x20, 0x21]),
  'many bytes': noise('tail', 200_000),
};

describe('the end of gzip is found', () => {
  for (const [what, gzip] of Object.entries(STREAMS)) {
    for (const [behind, tail] of Object.entries(TAILS)) {
      test(`of ${what} before ${behind}`, async () => {
        const stream = Buffer.concat([gzip, tail]);
        for (const taken of [0, gzip.length - 1, gzip.length - 300])
          for (const length of [1_000, 1_000_000])
            assert.equal(await endOfGzip(chunksOf(stream, length), taken, NEVER), gzip.length);
      });
    }
  }
});

test('the search for the end of gzip stops with its signal', async () => {
  const reason = new Error('the client has left');
  await assert.rejects(endOfGzip(chunksOf(LARGE, 1_000), 0, AbortSignal.abort(reason)), reason);
});
