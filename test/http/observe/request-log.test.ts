import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeImage, makeLayer } from '../../support/image.ts';
import { startPair } from '../../support/pair.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] });

describe('the log line of a request', () => {
  const paths: readonly [requested: string, logged: string | undefined, status: number][] = [
    ['/health/x', '/health/x', 404],
    ['/docker/nginx.tar', '/docker/nginx.tar', 400],
    ['/docker/nginx.tar?token=secret', '/docker/nginx.tar', 400],
    ['/registry/http/me:secret@host/docker/a_1.tar', '/REDACTED', 400],
    ['/', '/', 200],
    // The field `image` identifies the request.
    ['/docker/team_app_1.tar', undefined, 200],
    ['/docker/team_app_none.tar', undefined, 502],
  ];
  for (const [requested, logged, status] of paths) {
    test(`of ${requested} has ${logged === undefined ? 'no path' : `the path ${logged}`}`, async () => {
      await using pair = await startPair({}, (registry) => registry.push('team/app', '1', IMAGE));
      const reply = await pair.request(requested);
      assert.equal(reply.status, status);
      const id = reply.headers['x-request-id'];
      const line = await pair.service.waitForLog({ event: 'request', id });
      assert.equal(line['path'], logged);
      assert.doesNotMatch(JSON.stringify(line), /secret/);
    });
  }
});
