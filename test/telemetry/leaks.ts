/** A service with complete records of its output, and the search for secrets in them. */

import assert from 'node:assert/strict';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import type { Reply, RequestOptions } from '../support/http-request.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';

/** A service that exports all signals and logs at all levels. */
export interface Watched extends AsyncDisposable {
  readonly service: BuiltService;
  readonly receiver: OtlpReceiver;
  /** Sends a request. The answer is searched too. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /**
   * Stops the service, and fails if its exports, logs or answers contain a secret.
   *
   * @param secrets by their descriptions
   * @param shown text that exports and log must contain, which proves that the search works
   */
  assertSilent(secrets: Readonly<Record<string, string>>, shown: string): Promise<void>;
}

/**
 * Starts a service.
 *
 * @param env variables besides those of telemetry and log
 */
export async function startWatched(env: Readonly<Record<string, string>>): Promise<Watched> {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startOtlpReceiver());
  const service = stack.use(
    await startBuiltService({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_LOG_LEVEL: 'debug',
      LOG_LEVEL: 'trace',
      ...env,
    }),
  );
  const all = stack.move();
  const replies: string[] = [];
  let asked = 0;
  return {
    service,
    receiver,
    request: async (path, options) => {
      const reply = await service.request(path, options);
      asked += 1;
      // Archives contain only the image.
      replies.push(JSON.stringify(reply.headers), reply.status === 200 ? '' : reply.body.toString());
      return reply;
    },
    assertSilent: async (secrets, shown) => {
      assert.equal((await service.stop()).code, 0, service.output());
      const servers = receiver.spans.filter(({ kind }) => kind === 'server');
      assert.ok(servers.length >= asked, `${servers.length} spans of ${asked} requests`);
      const records = receiver.logs.filter(({ eventName }) => eventName === 'request');
      assert.equal(records.length, servers.length, 'each has its log record');
      assert.ok(receiver.metrics.some(({ name }) => name === 'passthrough.pulls'));

      const places = {
        export: receiver.bytes.toString('latin1'),
        // Decoded, for text outside of ASCII.
        'export, read': receiver.bytes.toString('utf8'),
        metrics: JSON.stringify(receiver.metrics),
        log: service.output(),
        answers: replies.join('\n'),
      };
      for (const place of ['export', 'log'] as const) assert.ok(places[place].includes(shown), place);
      const found = Object.entries(secrets).flatMap(([what, secret]) =>
        [...formsOf(secret)].flatMap(([form, text]) =>
          Object.entries(places)
            .filter(([, content]) => content.includes(text))
            .map(([place, content]) => `${what}, ${form}, in ${place}: ${around(content, text)}`),
        ),
      );
      assert.deepEqual(found, []);
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Length of a recognisable part of a secret, in characters: truncated secrets are found too. */
const PIECE = 9;

/** The encodings of a secret. A password in `user:password` is a separate secret. */
export function formsOf(secret: string): Map<string, string> {
  assert.ok(secret.length > PIECE, `${secret} is too short to be distinguished from other text`);
  const bytes = Buffer.from(secret);
  const percent = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  return new Map([
    ['as it is', secret],
    ['its start', secret.slice(0, PIECE)],
    ['its end', secret.slice(-PIECE)],
    ['in JSON', JSON.stringify(secret).slice(1, -1)],
    ['in base64', bytes.toString('base64').replace(/=+$/, '')],
    ['in base64url', bytes.toString('base64url')],
    ['in hex', bytes.toString('hex')],
    ['percent-encoded', encodeURIComponent(secret)],
    ['percent-encoded twice', encodeURIComponent(encodeURIComponent(secret))],
    ['percent-encoded as a whole', percent],
    ['percent-encoded as a whole, upper case', percent.toUpperCase()],
    ['as form data', new URLSearchParams({ '': secret }).toString().slice(1)],
  ]);
}

function around(content: string, text: string): string {
  const at = content.indexOf(text);
  return JSON.stringify(content.slice(Math.max(0, at - 60), at + text.length + 20));
}
