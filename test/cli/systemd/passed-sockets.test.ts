import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkPassedSockets, passedSockets } from '../../../src/cli/systemd/passed-sockets.ts';

const PID = 42;

describe('passed sockets', () => {
  const table: readonly [
    environment: NodeJS.ProcessEnv,
    sockets: readonly (readonly [fd: number, isTls: boolean])[],
  ][] = [
    [{}, []],
    [{ LISTEN_PID: '42' }, []],
    [{ LISTEN_FDS: '1' }, []],
    [{ LISTEN_PID: '43', LISTEN_FDS: '1' }, []],
    [{ LISTEN_PID: '42', LISTEN_FDS: '0' }, []],
    [{ LISTEN_PID: '42', LISTEN_FDS: '1' }, [[3, false]]],
    [{ LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'images.socket' }, [[3, false]]],
    [
      { LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'http:https:unknown' },
      [
        [3, false],
        [4, true],
        [5, false],
      ],
    ],
    // The names of another process mean nothing either.
    [{ LISTEN_PID: '43', LISTEN_FDS: '1', LISTEN_FDNAMES: 'https' }, []],
  ];
  for (const [environment, sockets] of table) {
    test(JSON.stringify(environment), () => {
      const given = { ...environment, HOME: '/root' };
      assert.deepEqual(
        passedSockets(given, PID),
        sockets.map(([fd, isTls]) => ({ fd, isTls })),
      );
      assert.deepEqual(given, { HOME: '/root' }, 'no child gets the variables');
    });
  }

  for (const count of ['', 'x', '-1', '1.5', '99999']) {
    test(`cannot be ${JSON.stringify(count)}`, () => {
      assert.throws(() => passedSockets({ LISTEN_PID: '42', LISTEN_FDS: count }, PID), {
        code: 'INVALID_CONFIGURATION',
        message: `Cannot use LISTEN_FDS=${JSON.stringify(count)}: expected a number from 0 to 1024`,
      });
    });
  }

  test('need a certificate for https, and use the one that there is', () => {
    const [http, https] = [
      { fd: 3, isTls: false },
      { fd: 4, isTls: true },
    ];
    for (const hasTls of [true, false]) checkPassedSockets([], hasTls);
    checkPassedSockets([http], false);
    checkPassedSockets([http, https], true);
    assert.throws(() => checkPassedSockets([http, https], false), /it needs TLS_CERT_FILE and TLS_KEY_FILE$/);
    assert.throws(() => checkPassedSockets([http], true), /no passed socket has the name https/);
  });
});
