import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { parseKeys } from '../../../src/pull/signatures/keys.ts';
import { makeSigningKey } from '../../support/signing.ts';

const BYTES = Buffer.from('what is signed');

const spki = ({ publicKey }: { readonly publicKey: KeyObject }) =>
  String(publicKey.export({ type: 'spki', format: 'pem' }));

describe('a key is read, and verifies', () => {
  for (const kind of ['p256', 'p384', 'rsa', 'ed25519'] as const) {
    test(kind, () => {
      const signer = makeSigningKey(kind);
      const [key = assert.fail(), ...more] = parseKeys(signer.pem, 'a.pub', kind === 'ed25519');
      assert.deepEqual([key.name, more], ['a.pub', []]);
      assert.ok(key.verifies(BYTES, signer.sign(BYTES)));
      assert.ok(!key.verifies(Buffer.from('other'), signer.sign(BYTES)));
      assert.ok(!key.verifies(BYTES, makeSigningKey(kind).sign(BYTES)));
      assert.ok(!key.verifies(BYTES, Buffer.alloc(0)));
    });
  }

  test('with the fingerprint of its DER', () => {
    const { pem } = makeSigningKey();
    const der = Buffer.from(pem.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64');
    const [key] = parseKeys(pem, 'a.pub', false);
    assert.equal(key?.fingerprint, createHash('sha256').update(der).digest('hex'));
  });

  test('in the own form of RSA, behind text, and several in one file', () => {
    const pair = generateKeyPairSync('rsa', { modulusLength: 3072 });
    const own = String(pair.publicKey.export({ type: 'pkcs1', format: 'pem' }));
    const text = `the keys of the team\n${own}\nand\r\n${makeSigningKey().pem.replaceAll('\n', '\r\n')}`;
    assert.equal(parseKeys(text, 'a.pub', false).length, 2);
  });
});

describe('a key is refused', () => {
  const privateKey = String(makeSigningKey().privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const block = (label: string, body = 'AAAA') =>
    `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
  const table: readonly [name: string, text: string, why: RegExp][] = [
    ['that is empty', '', /it has no public key in PEM form/],
    ['that is a reference to a key service', 'awskms:///alias/x', /it has no public key in PEM form/],
    ['that is private', privateKey, /it holds a private key.*name the \.pub file/],
    ["that is private, in cosign's form", block('ENCRYPTED SIGSTORE PRIVATE KEY'), /it holds a private key/],
    ['behind a good one', `${makeSigningKey().pem}${privateKey}`, /it holds a private key/],
    ['that is a certificate', block('CERTIFICATE'), /certificates are not verified/],
    ['of another program', block('PGP PUBLIC KEY BLOCK'), /"PGP PUBLIC KEY BLOCK", which is no public key/],
    ['that is damaged', block('PUBLIC KEY'), /its public key is damaged/],
    [
      'that is Ed25519',
      makeSigningKey('ed25519').pem,
      /Ed25519ph, which the crypto of Node\.js does not verify/,
    ],
    [
      'on another curve',
      spki(generateKeyPairSync('ec', { namedCurve: 'secp256k1' })),
      /curve secp256k1; expected/,
    ],
    [
      'on the largest curve',
      spki(generateKeyPairSync('ec', { namedCurve: 'secp521r1' })),
      /curve secp521r1; expected/,
    ],
    ['of another kind', spki(generateKeyPairSync('ed448')), /a key of kind ed448; expected/],
    ['for RSA-PSS', spki(generateKeyPairSync('rsa-pss', { modulusLength: 2048 })), /a key of kind rsa-pss/],
    [
      'that is short',
      spki(generateKeyPairSync('rsa', { modulusLength: 1024 })),
      /an RSA key of 1024 bits; expected 2048/,
    ],
    ['of which there are too many', makeSigningKey().pem.repeat(17), /it has more than 16 keys/],
  ];
  for (const [name, text, why] of table) {
    test(name, () => {
      assert.throws(
        () => parseKeys(text, 'a.pub', false),
        (error) =>
          isPassthroughError(error, 'INVALID_CONFIGURATION') &&
          error.message.startsWith('Cannot use key "a.pub": ') &&
          why.test(error.message),
      );
    });
  }
});
