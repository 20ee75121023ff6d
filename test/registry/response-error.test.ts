import assert from 'node:assert/strict';
import test from 'node:test';
import { errorFromResponse } from '../../src/registry/response-error.ts';
import { response, type ScriptedAnswer } from './scripted-transport.ts';

const ACTION = 'Cannot get manifest "1" of registry.example.com/team/app';

const of = async (answer: ScriptedAnswer, maxBytes?: number) =>
  await errorFromResponse(await response(answer), ACTION, maxBytes);

const oci = (...errors: unknown[]) => JSON.stringify({ errors });

test('a status becomes a code and a reason', async () => {
  const cases: [status: number, code: string, reason: string][] = [
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
  for (const [status, code, reason] of cases) {
    const error = await of({ status });
    assert.deepEqual([error.code, error.message], [code, `${ACTION}: ${reason}`]);
    assert.deepEqual(error.details, { registryStatus: status });
  }
});

test("the registry's code and words come along, whichever form they have", async () => {
  const cases: [body: string, said: string, code: string | undefined][] = [
    [
      oci({ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }),
      ': manifest unknown (MANIFEST_UNKNOWN)',
      'MANIFEST_UNKNOWN',
    ],
    [oci({ code: 'A', message: 'first' }, { code: 'B', message: 'second' }), ': first (A)', 'A'],
    [oci({ code: 'NAME_UNKNOWN' }), ': (NAME_UNKNOWN)', 'NAME_UNKNOWN'],
    [oci({ message: 'words alone' }), ': words alone', undefined],
    ['{"details":"incorrect username or password"}', ': incorrect username or password', undefined],
    ['{"message":"Unauthorized"}', ': Unauthorized', undefined],
    ['{"error":"invalid_grant","error_description":"no such user"}', ': no such user', undefined],
    [oci(), '', undefined],
    ['{"errors":"none"}', '', undefined],
    ['{"errors":[null]}', '', undefined],
    [oci({ code: 5, message: { a: 'b' } }), '', undefined],
    ['[]', '', undefined],
    ['null', '', undefined],
    ['<html>oops</html>', '', undefined],
    ['', '', undefined],
  ];
  for (const [body, said, code] of cases) {
    const error = await of({ status: 404, body });
    assert.equal(error.message, `${ACTION}: not found${said}`, body);
    assert.equal(error.details.registryCode, code);
  }
});

test('what a server says is one line without control or direction characters, and not long', async () => {
  const message = '\u001b[31mred\u0007\r\nX-Forged: 1\u0000\u202eevil\u2028line\u200b\t end \u0085';
  const { message: shown } = await of({ status: 404, body: oci({ code: 'A\nB', message }) });
  assert.equal(shown, `${ACTION}: not found: [31mred X-Forged: 1 evil line end (A B)`);

  const long = await of({ status: 404, body: oci({ code: 'C'.repeat(999), message: 'x'.repeat(999) }) });
  assert.equal(long.message, `${ACTION}: not found: ${'x'.repeat(200)}… (${'C'.repeat(200)}…)`);
  assert.equal(long.details.registryCode, `${'C'.repeat(200)}…`);
});

test('what a server says is cut above 200 characters, and whole up to there', async () => {
  for (const length of [199, 200, 201]) {
    const { message } = await of({ status: 404, body: oci({ message: 'x'.repeat(length) }) });
    const shown = length > 200 ? `${'x'.repeat(200)}…` : 'x'.repeat(length);
    assert.equal(message, `${ACTION}: not found: ${shown}`);
  }
});

test('secrets of the request are taken out wherever the server puts them', async () => {
  const base64 = Buffer.from('user:hunter2').toString('base64');
  const secrets = [base64, 'hunter2', ''];
  const cases: [message: string, shown: string][] = [
    [`you sent Authorization: Basic ${base64}`, 'you sent Authorization: Basic [redacted]'],
    ['user:hunter2 and hunter2', 'user:[redacted] and [redacted]'],
    // Over the border of what is shown, and with a character in it that the cleaning would take out.
    [`${'x'.repeat(196)}hunter2`, `${'x'.repeat(196)}[red…`],
  ];
  for (const [message, shown] of cases) {
    const error = await of({ status: 401, secrets, body: oci({ code: `DENIED hunter2`, message }) });
    assert.equal(
      error.message,
      `${ACTION}: authentication is required or was refused: ${shown} (DENIED [redacted])`,
    );
    assert.equal(error.details.registryCode, 'DENIED [redacted]');
    assert.doesNotMatch(JSON.stringify([error.message, error.details]), /hunter2/);
  }
});

test('of an error body a bounded part is read: what stands whole in it counts', async () => {
  const body = oci({ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' });
  const padded = await of({ status: 404, body: body.padEnd(5000) }, 1000);
  assert.equal(padded.details.registryCode, 'MANIFEST_UNKNOWN');
  const cut = await of({ status: 404, body: oci({ message: 'x'.repeat(5000), code: 'LATE' }) }, 1000);
  assert.equal(cut.message, `${ACTION}: not found`);
});

test('64 KiB of an error body are read unless another bound is given', async () => {
  const fill = 64 * 1024 - oci({ message: '', code: 'LATE' }).length;
  const cases: [length: number, said: string][] = [
    [fill, `: ${'x'.repeat(200)}… (LATE)`],
    [fill + 1, ''],
  ];
  for (const [length, said] of cases) {
    const { message } = await of({ status: 404, body: oci({ message: 'x'.repeat(length), code: 'LATE' }) });
    assert.equal(message, `${ACTION}: not found${said}`);
  }
});

test('a body that breaks off does not hide the error', async () => {
  async function* broken(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('{"err');
    throw new Error('broke off');
  }
  assert.equal((await of({ status: 404, body: broken() })).code, 'IMAGE_NOT_FOUND');
});

test('Retry-After comes along in seconds', async () => {
  const error = await of({ status: 429, headers: { 'retry-after': '60' } });
  assert.deepEqual(error.details, { registryStatus: 429, retryAfterSeconds: 60 });
  const garbled = await of({ status: 429, headers: { 'retry-after': 'soon' } });
  assert.deepEqual(garbled.details, { registryStatus: 429 });
});
