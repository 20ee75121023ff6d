import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';

const KEYS = { SIGNATURE_KEYS: '/k/a.pub' };

test('the rules for signatures are read', () => {
  const { signatures } = loadConfig({
    SIGNATURE_KEYS: ' /k/a.pub, ed25519:/k/b.pub ,',
    SIGNATURE_REQUIRED_FOR: 'GHCR.io/org/*, docker.io/nginx',
    SIGNATURE_POLICY: 'WARN',
    SIGNATURE_MATCH_REPOSITORY: 'yes',
  });
  assert.deepEqual(signatures, {
    keys: ['/k/a.pub', 'ed25519:/k/b.pub'],
    requiredFor: ['ghcr.io/org/*', 'docker.io/nginx'],
    policy: 'warn',
    matchRepository: true,
  });
});

describe('refused is', () => {
  const table: readonly [variables: Readonly<Record<string, string>>, message: string][] = [
    [
      { SIGNATURE_KEYS: ' , ' },
      'Cannot use SIGNATURE_KEYS=",": expected the path of a PEM file with a public key',
    ],
    [
      { ...KEYS, SIGNATURE_REQUIRED_FOR: 'ghcr.io' },
      'Cannot use SIGNATURE_REQUIRED_FOR="ghcr.io": expected host/repository, such as ghcr.io/org/app or docker.io/*',
    ],
    [
      { ...KEYS, SIGNATURE_REQUIRED_FOR: ',' },
      'Cannot use SIGNATURE_REQUIRED_FOR=",": expected host/repository, such as ghcr.io/org/*',
    ],
    [
      { ...KEYS, SIGNATURE_POLICY: 'off' },
      'Cannot use SIGNATURE_POLICY="off": expected one of enforce, warn',
    ],
    [
      { ...KEYS, SIGNATURE_MATCH_REPOSITORY: 'true' },
      'Cannot use SIGNATURE_MATCH_REPOSITORY="true": expected one of yes, no',
    ],
    ...Object.entries({
      SIGNATURE_REQUIRED_FOR: '*',
      SIGNATURE_POLICY: 'warn',
      SIGNATURE_MATCH_REPOSITORY: 'no',
    }).map(([name, value]): [Readonly<Record<string, string>>, string] => [
      { [name]: value },
      `Cannot use ${name}="${value}": SIGNATURE_KEYS is not set, so no signature is verified`,
    ]),
  ];
  for (const [variables, message] of table)
    test(JSON.stringify(variables), () =>
      assert.throws(() => loadConfig(variables), { code: 'INVALID_CONFIGURATION', message }),
    );
});
