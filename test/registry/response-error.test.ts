import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorFromResponse } from '../../src/registry/response-error.ts';
import { responseOf, type ScriptedAnswer } from './support/scripted-transport.ts';

const ACTION = 'Cannot get manifest "1" of registry.example.com/team/app';

const errorOf = async (answer: ScriptedAnswer, maxBytes?: number) =>
  await errorFromResponse(await responseOf(answer), ACTION, maxBytes);

/** An error body in the form of the distribution specification. */
const oci = (...errors: unknown[]) => JSON.stringify({ errors });

describe('the error of a response', () => {
  const statuses: [status: number, code: string, reason: string][] = [
    [400, 'REGISTRY_FAILED', 'the answer is 400'],
    [401, 'REGISTRY_DENIED', 'authentication is required or was refused'],
    [403, 'REGISTRY_DENIED', 'access is denied'],
    [404, 'IMAGE_NOT_FOUND', 'not found'],
    [429, 'REGISTRY_RATE_LIMITED', 'too many requests'],
    [307, 'REGISTRY_FAILED', 'the answer is 307'],
    [206, 'REGISTRY_FAILED', 'the answer is 206'],
    [500, 'REGISTRY_FAILED', 'the answer is 500'],
    [503, 'REGISTRY_FAILED', 'the answer is 503'],
  ];
  for (const [status, code, reason] of statuses) {
    test(`is ${code} for ${status}`, async () => {
      const error = await errorOf({ status });
      assert.deepEqual([error.code, error.message], [code, `${ACTION}: ${reason}`]);
      assert.deepEqual(error.details, { registryStatus: status });
    });
  }

  const bodies: [body: string, quoted: string, code?: string][] = [
    [oci({ code: 'NAME_UNKNOWN', message: 'unknown' }), ': unknown (NAME_UNKNOWN)', 'NAME_UNKNOWN'],
    [oci({ code: 'A', message: 'first' }, { code: 'B', message: 'second' }), ': first (A)', 'A'],
    [oci({ code: 'NAME_UNKNOWN' }), ': (NAME_UNKNOWN)', 'NAME_UNKNOWN'],
    [oci({ message: 'message alone' }), ': message alone'],
    ['{"details":"incorrect username or password"}', ': incorrect username or password'],
    ['{"message":"Unauthorized"}', ': Unauthorized'],
    ['{"error":"invalid_grant","error_description":"no such user"}', ': no such user'],
    [oci(), ''],
    ['{"errors":"none"}', ''],
    ['{"errors":[null]}', ''],
    [oci({ code: 5, message: { a: 'b' } }), ''],
    ['[]', ''],
    ['null', ''],
    ['<html>oops</html>', ''],
    ['', ''],
  ];
  for (const [body, quoted, code] of bodies) {
    test(`quotes ${quoted || 'nothing'} from ${body}`, async () => {
      const error = await errorOf({ status: 404, body });
      assert.equal(error.message, `${ACTION}: not found${quoted}`);
      assert.equal(error.details.registryCode, code);
    });
  }

  test('has Retry-After in seconds', async () => {
    for (const [value, retryAfter] of [
      ['60', { retryAfterSeconds: 60 }],
      ['soon', {}],
    ] as const) {
      const { details } = await errorOf({ status: 429, headers: { 'retry-after': value } });
      assert.deepEqual(details, { registryStatus: 429, ...retryAfter });
    }
  });
});

describe('a quote', () => {
  test('is one line that shows control and direction characters as escapes', async () => {
    const message = '\u001b[31mred\u0007\r\nX-Forged: 1\u0000\u202eevil\u2028line\u200b\t end \u0085';
    const error = await errorOf({ status: 404, body: oci({ code: 'A\nB', message }) });
    const shown = '\\u001b[31mred\\u0007 X-Forged: 1\\u0000\\u202eevil line\\u200b end \\u0085';
    assert.equal(error.message, `${ACTION}: not found: ${shown} (A B)`);
  });

  test('has at most 200 characters of the message and of the code', async () => {
    for (const [length, end] of [
      [200, ''],
      [201, '…'],
      [999, '…'],
    ] as const) {
      const body = oci({ code: 'C'.repeat(length), message: 'x'.repeat(length) });
      const error = await errorOf({ status: 404, body });
      const code = `${'C'.repeat(200)}${end}`;
      assert.equal(error.message, `${ACTION}: not found: ${'x'.repeat(200)}${end} (${code})`);
      assert.equal(error.details.registryCode, code);
    }
  });

  test('contains no secret of the request', async () => {
    const base64 = Buffer.from('user:hunter2').toString('base64');
    const secrets = [base64, 'hunter2', ''];
    for (const [message, quoted] of [
      [`you sent Authorization: Basic ${base64}`, 'you sent Authorization: Basic [redacted]'],
      ['user:hunter2 and hunter2', 'user:[redacted] and [redacted]'],
      // The quote ends within the secret.
      [`${'x'.repeat(196)}hunter2`, `${'x'.repeat(196)}[red…`],
    ] as const) {
      const error = await errorOf({ status: 401, secrets, body: oci({ code: 'DENIED hunter2', message }) });
      const reason = 'authentication is required or was refused';
      assert.equal(error.message, `${ACTION}: ${reason}: ${quoted} (DENIED [redacted])`);
      assert.equal(error.details.registryCode, 'DENIED [redacted]');
      assert.doesNotMatch(JSON.stringify([error.message, error.details]), /hunter2/);
    }
  });
});

describe('the body of an error', () => {
  test('is read up to a limit, and quoted if it is complete there', async () => {
    const body = oci({ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' });
    const padded = await errorOf({ status: 404, body: body.padEnd(5000) }, 1000);
    assert.equal(padded.details.registryCode, 'MANIFEST_UNKNOWN');
    const late = oci({ message: 'x'.repeat(5000), code: 'LATE' });
    assert.equal((await errorOf({ status: 404, body: late }, 1000)).message, `${ACTION}: not found`);
  });

  test('is read up to 64 KiB unless another limit is given', async () => {
    const fill = 64 * 1024 - oci({ message: '', code: 'LATE' }).length;
    for (const [length, quoted] of [
      [fill, `: ${'x'.repeat(200)}… (LATE)`],
      [fill + 1, ''],
    ] as const) {
      const { message } = await errorOf({
        status: 404,
        body: oci({ message: 'x'.repeat(length), code: 'LATE' }),
      });
      assert.equal(message, `${ACTION}: not found${quoted}`);
    }
  });

  test('may break off', async () => {
    async function* broken(): AsyncGenerator<Uint8Array, void, undefined> {
      yield Buffer.from('{"err');
      throw new Error('broke off');
    }
    assert.equal((await errorOf({ status: 404, body: broken() })).code, 'IMAGE_NOT_FOUND');
  });
});
