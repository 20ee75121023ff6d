import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeImage, makeLayer } from '../support/image.ts';
import { startPair } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';

test('an answer that is not an archive is cut, too, when its client takes no byte for SEND_STALL_TIMEOUT', async () => {
  const image = makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }], manifestPaddingBytes: 1024 ** 2 });
  await using pair = await startPair({ env: { SEND_STALL_TIMEOUT: '0.3' } }, (registry) => {
    registry.push('team/wide', '1', image);
  });
  using client = await connectRaw(pair.service.port);
  client.socket.pause();
  // More bytes than all buffers hold.
  client.send('GET /manifest/team/wide:1 HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(30));
  const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
  assert.equal(line['message'], 'Stopped: the client took no byte for 0.3 s');
});
