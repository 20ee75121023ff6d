/** Which signatures count, and why others do not: made with keys of the test. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Pushable } from '../../support/image.ts';
import { SIGNED_IMAGE } from '../../support/signed-vector-image.ts';
import {
  BUNDLE,
  bundleManifest,
  envelopeBytes,
  makeArtifact,
  makeBundle,
  makeMessageBundle,
  makePayload,
  makeSigningKey,
  makeStatement,
  referrersIndex,
  type SigningKey,
  signatureTags,
  signedByTag,
  signedLayer,
} from '../../support/signing.ts';
import { refusal } from '../pulling.ts';
import { REPOSITORY, startScene } from './scene.ts';

const { digest, bytes: MANIFEST } = SIGNED_IMAGE.manifest;
const OTHER = `sha256:${'1'.repeat(64)}`;
const { tag: TAG, fallback: FALLBACK } = signatureTags(digest);

const KEY = makeSigningKey();
const STRANGER = makeSigningKey();

/** What lies beside the image, by tag. */
type Beside = Readonly<Record<string, Pushable>>;

const inTag = (layers: Parameters<typeof makeArtifact>[0], fields?: object): Beside => ({
  [TAG]: makeArtifact(layers, { ...fields }),
});
const inBundle = (bundle: Uint8Array, fields?: object): Beside => ({
  [FALLBACK]: referrersIndex([bundleManifest(digest, bundle, { ...fields })]),
});
/** A payload, and its signature by the key that counts. */
const payloadLayer = (payload: Buffer) => signedLayer(payload, KEY.sign(payload));
const statement = (rest?: Readonly<Record<string, unknown>>) => makeStatement(digest, rest);

async function startWith(beside: Beside, options: Parameters<typeof startScene>[0] = {}) {
  const scene = await startScene({ signatures: { keys: [KEY.pem] }, ...options });
  for (const [tag, pushed] of Object.entries(beside)) scene.registry.push(REPOSITORY, tag, pushed);
  return scene;
}

describe('a signature counts', () => {
  const plain = makeSigningKey('ed25519');
  const payload = makePayload(digest);
  const good = signedLayer(payload, KEY.sign(payload));
  const table: readonly [name: string, beside: Beside, key?: string][] = [
    ['in a tag', { [TAG]: signedByTag(digest, KEY) }],
    ['behind one by another key', inTag([signedLayer(payload, STRANGER.sign(payload)), good])],
    [
      'with the newer type of payload',
      inTag([payloadLayer(makePayload(digest, 'a', 'https://sigstore.dev/cosign/sign/v1'))]),
    ],
    ['beside a layer that is none', inTag([{ mediaType: 'text/plain', bytes: Buffer.from('x') }, good])],
    [
      'behind layers that are malformed, or no layers',
      inTag(
        ['x', 1].map((wrong) => signedLayer(payload, '', { descriptor: { digest: wrong } })).concat(good),
      ),
    ],
    [
      'behind 40 layers that are none',
      inTag([
        ...Array.from({ length: 40 }, () => ({ mediaType: 'text/plain', bytes: Buffer.from('x') })),
        good,
      ]),
    ],
    ['in a bundle', inBundle(makeBundle(statement(), KEY))],
    [
      'in a bundle of an older version',
      inBundle(
        makeBundle(statement(), KEY, { bundle: { mediaType: `${BUNDLE.slice(0, -10)}+json;version=0.2` } }),
      ),
    ],
    [
      'in a bundle whose index entry has the type of a bundle',
      {
        [FALLBACK]: referrersIndex([bundleManifest(digest, makeBundle(statement(), KEY))], {
          artifactType: BUNDLE,
        }),
      },
    ],
    ['in plain Ed25519, in a tag', { [TAG]: signedByTag(digest, plain) }, `ed25519:${plain.pem}`],
    ['in plain Ed25519, in a bundle', inBundle(makeBundle(statement(), plain)), `ed25519:${plain.pem}`],
  ];
  for (const [name, beside, key = KEY.pem] of table) {
    test(name, async () => {
      await using scene = await startWith(beside, { signatures: { keys: [key] } });
      assert.equal(await scene.resolve(), digest);
    });
  }

  test('by any of several keys', async () => {
    const keys = [STRANGER.pem, KEY.pem];
    await using scene = await startWith({ [TAG]: signedByTag(digest, KEY) }, { signatures: { keys } });
    await scene.resolve();
    assert.equal(scene.reports[0]?.key?.name, 'key 2');
  });

  test('in a tag that names the repository, where that matters', async () => {
    await using scene = await startScene({ signatures: { keys: [KEY.pem], matchRepository: true } });
    const identity = `${scene.registry.host}/${REPOSITORY}`;
    for (const named of [identity, `${identity}:1`, `${identity}@${digest}`]) {
      scene.registry.push(REPOSITORY, TAG, signedByTag(digest, KEY, named));
      await scene.restart();
      assert.equal(await scene.resolve(), digest, named);
    }
  });

  test('in a bundle that names the repository, where that matters', async () => {
    await using scene = await startScene({ signatures: { keys: [KEY.pem], matchRepository: true } });
    const name = `${scene.registry.host}/${REPOSITORY}`;
    const subject = [{ name, digest: { sha256: digest.slice('sha256:'.length) } }];
    const bundle = makeBundle(statement({ subject }), KEY);
    scene.registry.push(REPOSITORY, FALLBACK, referrersIndex([bundleManifest(digest, bundle)]));
    assert.equal(await scene.resolve(), digest);
  });
});

describe('a signature does not count', () => {
  const payload = makePayload(digest);
  const signature = KEY.sign(payload).toString('base64');
  const hex = digest.slice('sha256:'.length);
  const doubled = Buffer.from(
    payload.toString().replace('"critical":', `"critical":${JSON.stringify({ image: {} })},"critical":`),
  );
  const doubledStatement = Buffer.from(
    statement()
      .toString()
      .replace('"predicateType":', '"predicateType":"https://spdx.dev/Document","predicateType":'),
  );
  const pem = (key: SigningKey, bytes: Uint8Array) => key.sign(bytes).toString('base64');
  const table: readonly [name: string, beside: Beside, reason: RegExp][] = [
    ['by another key, in a tag', { [TAG]: signedByTag(digest, STRANGER) }, /not signed by a key that counts/],
    ['for another digest', inTag([payloadLayer(makePayload(OTHER))]), /it is for sha256:1111/],
    ['of other bytes', inTag([signedLayer(payload, KEY.sign(makePayload(OTHER)))]), /not signed by a key/],
    [
      'without an annotation',
      inTag([signedLayer(payload, '', { annotations: {} })]),
      /its signature is not base64/,
    ],
    ['that is empty', inTag([signedLayer(payload, '')]), /its signature is not base64/],
    ['in base64 with a line end', inTag([signedLayer(payload, `${signature}\n`)]), /not base64/],
    [
      'in base64 without padding',
      inTag([signedLayer(payload, signature.replace(/=*$/, '') + (signature.endsWith('=') ? '' : '='))]),
      /not base64/,
    ],
    ['in base64 of URLs', inTag([signedLayer(payload, `-_${signature.slice(2)}`)]), /not base64/],
    [
      'with bytes behind it',
      inTag([signedLayer(payload, Buffer.concat([KEY.sign(payload), Buffer.from([0])]))]),
      /not signed by a key/,
    ],
    [
      'of a payload of another kind',
      inTag([payloadLayer(makePayload(digest, 'a', 'atomic container signature'))]),
      /its payload is not that of an image/,
    ],
    [
      'of a payload that is no simple signing',
      inTag([payloadLayer(Buffer.from('{"critical":[]}'))]),
      /no simple signing/,
    ],
    ['of a payload without a digest', inTag([payloadLayer(makePayload('latest'))]), /names no digest/],
    ['of a payload that is no JSON', inTag([payloadLayer(Buffer.from('{'))]), /it is not JSON/],
    [
      'of a payload with a byte order mark',
      inTag([payloadLayer(Buffer.concat([Buffer.from('\uFEFF'), payload]))]),
      /it is not JSON/,
    ],
    [
      'of a payload that is not UTF-8',
      inTag([
        payloadLayer(
          Buffer.concat([payload.subarray(0, -1), Buffer.from([0x2c, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])]),
        ),
      ]),
      /it is not JSON/,
    ],
    ['of a payload with a field twice', inTag([payloadLayer(doubled)]), /two of its fields have one name/],
    [
      'of a payload that is too large',
      inTag([payloadLayer(Buffer.from(`${payload}${' '.repeat(65_536)}`))]),
      /bytes, more than 65536/,
    ],
    [
      'of a payload that the registry has changed',
      inTag([signedLayer(payload, signature, { descriptor: { digest: OTHER } })]),
      /signature 1 of tag.*not found/,
    ],
    [
      'in a layer of another type',
      inTag([signedLayer(payload, signature, { mediaType: 'application/vnd.dsse.envelope.v1+json' })]),
      /it has no signatures/,
    ],
    [
      'in a tag whose manifest is about another one',
      inTag([payloadLayer(payload)], { subject: { digest: OTHER, mediaType: 'a/b', size: 1 } }),
      /its subject is another manifest/,
    ],
    ['in a tag whose manifest has no layers', inTag([], { layers: 1 }), /it has no layers/],
    [
      'in a tag whose manifest is too large',
      inTag([payloadLayer(payload)], { annotations: { a: 'x'.repeat(600_000) } }),
      /bytes, more than 524288/,
    ],
    ['by another key, in a bundle', inBundle(makeBundle(statement(), STRANGER)), /not signed by a key/],
    [
      'of an attestation',
      inBundle(makeBundle(statement({ predicateType: 'https://spdx.dev/Document' }), KEY)),
      /it is an attestation/,
    ],
    [
      'of a statement of another kind',
      inBundle(makeBundle(statement({ _type: 'https://example.com/Statement' }), KEY)),
      /its payload is no statement/,
    ],
    [
      'of a statement about another digest',
      inBundle(makeBundle(makeStatement(OTHER), KEY)),
      /it is for sha256:1111/,
    ],
    [
      'of a statement about two images',
      inBundle(
        makeBundle(
          statement({ subject: [{ digest: { sha256: hex } }, { digest: { sha256: '1'.repeat(64) } }] }),
          KEY,
        ),
      ),
      /not about one image/,
    ],
    [
      'of a statement with two digests',
      inBundle(makeBundle(statement({ subject: [{ digest: { sha256: hex, sha1: 'x' } }] }), KEY)),
      /does not name one digest/,
    ],
    [
      'of a statement about nothing',
      inBundle(makeBundle(statement({ subject: [] }), KEY)),
      /not about one image/,
    ],
    [
      'of a statement with a field twice',
      inBundle(makeBundle(doubledStatement, KEY)),
      /two of its fields have one name/,
    ],
    [
      'of another payload than the statement',
      inBundle(
        makeBundle(statement(), KEY, {
          envelope: { payload: makeStatement(digest, { predicate: { a: 1 } }).toString('base64') },
        }),
      ),
      /not signed by a key/,
    ],
    [
      'of the statement alone, not its envelope',
      inBundle(makeBundle(statement(), KEY, { envelope: { signatures: [{ sig: pem(KEY, statement()) }] } })),
      /not signed by a key/,
    ],
    [
      'of an envelope of another type',
      inBundle(
        makeBundle(statement(), KEY, {
          envelope: {
            payloadType: 'text/plain',
            signatures: [{ sig: pem(KEY, envelopeBytes(statement(), 'text/plain')) }],
          },
        }),
      ),
      /the payload of its bundle is no statement/,
    ],
    [
      'in a bundle with too many',
      inBundle(
        makeBundle(statement(), KEY, {
          envelope: {
            signatures: Array.from({ length: 5 }, () => ({ sig: pem(KEY, envelopeBytes(statement())) })),
          },
        }),
      ),
      /one to 4 signatures/,
    ],
    [
      'in a bundle without any',
      inBundle(makeBundle(statement(), KEY, { envelope: { signatures: [] } })),
      /one to 4 signatures/,
    ],
    [
      'in a bundle with a certificate',
      inBundle(makeBundle(statement(), KEY, { bundle: { verificationMaterial: { certificate: {} } } })),
      /signed with a certificate/,
    ],
    [
      'in a bundle with two kinds of them',
      inBundle(makeBundle(statement(), KEY, { bundle: { messageSignature: {} } })),
      /signs a message, not a statement/,
    ],
    [
      'in a document of another type',
      inBundle(makeBundle(statement(), KEY, { bundle: { mediaType: 'application/json' } })),
      /no Sigstore bundle/,
    ],
    [
      'in a bundle about another manifest',
      inBundle(makeBundle(statement(), KEY), { subject: { digest: OTHER, mediaType: 'a/b', size: 1 } }),
      /its subject is another manifest/,
    ],
    [
      'in a bundle about no manifest',
      inBundle(makeBundle(statement(), KEY), { subject: undefined }),
      /its subject is another manifest/,
    ],
    [
      'in a manifest with two bundles',
      {
        [FALLBACK]: referrersIndex([
          makeArtifact(
            ['a', 'b'].map((space) => ({
              mediaType: BUNDLE,
              bytes: Buffer.concat([makeBundle(statement(), KEY), Buffer.from(space === 'a' ? ' ' : '  ')]),
            })),
            { subject: { digest, mediaType: 'a/b', size: 1 } },
          ),
        ]),
      },
      /does not have one bundle/,
    ],
    [
      'of the bytes of the manifest, as a blob is signed',
      inBundle(makeMessageBundle(digest, KEY.sign(MANIFEST))),
      /signs a message, not a statement/,
    ],
    [
      'in an index that says it is a list of bills of materials',
      {
        [FALLBACK]: referrersIndex([bundleManifest(digest, makeBundle(statement(), KEY))], {
          artifactType: 'application/spdx+json',
        }),
      },
      /none of 1 is a signature/,
    ],
    ['in a list that is no index', { [FALLBACK]: makeArtifact([]) }, /its manifests are not a list/],
  ];
  for (const [name, beside, reason] of table) {
    test(name, async () => {
      await using scene = await startWith(beside);
      const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
      assert.match(details.hints?.[0] ?? '', reason);
      assert.equal(scene.registry.countRequests(/blobs\/.*layer/), 0);
    });
  }

  test('where there is none: the error says what was looked for, and by which keys', async () => {
    await using scene = await startWith({});
    const { message, details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(message, new RegExp(`^Cannot serve ".*/team/app": ${digest} has no valid signature$`));
    const short = digest.slice('sha256:'.length, 'sha256:'.length + 12);
    assert.equal(
      details.hints?.[0],
      `Looked at tag sha256-${short}….sig: not found; referrers of sha256:${short}…: the registry does not list them; tag sha256-${short}…: not found`,
    );
    assert.match(details.hints?.[1] ?? '', /^Keys that count: "key 1" \(SHA-256 [a-f0-9]{64}\)$/);
  });
});

describe('a signature behind attestations counts', () => {
  const signed = bundleManifest(digest, makeBundle(statement(), KEY));
  const predicateType = 'https://spdx.dev/Document';
  const annotations = { 'dev.sigstore.bundle.predicateType': predicateType };

  test('where a list of 3000 says what they are', async () => {
    const many = Array.from({ length: 3_000 }, (_, at) => ({
      mediaType: signed.manifest.mediaType,
      digest: `sha256:${String(at).padStart(64, '0')}`,
      size: 1,
      artifactType: BUNDLE,
      annotations,
    }));
    const list = referrersIndex([signed], { artifactType: BUNDLE });
    const index = JSON.parse(list.manifest.bytes.toString()) as { manifests: object[] };
    const body = JSON.stringify({ ...index, manifests: [...many, ...index.manifests] });
    await using scene = await startWith({}, { registry: { referrers: true } });
    scene.registry.push(REPOSITORY, signed.manifest.digest, signed);
    scene.registry.defects.failWith = { pattern: /referrers/, status: 200, body };
    assert.equal(await scene.resolve(), digest);
  });

  test('where the manifests of 40 say it, as under the tag that cosign writes', async () => {
    const bundle = makeBundle(statement({ predicateType }), KEY).toString();
    const attested = Array.from({ length: 40 }, (_, at) =>
      bundleManifest(digest, Buffer.from(bundle + ' '.repeat(at)), { annotations }),
    );
    await using scene = await startWith({ [FALLBACK]: referrersIndex([...attested, signed]) });
    assert.equal(await scene.resolve(), digest);
    assert.equal(scene.registry.countRequests(/GET .*blobs/), 1);
  });
});

test('a signature behind an entry that is repeated counts', async () => {
  const strange = bundleManifest(digest, makeBundle(statement(), STRANGER));
  const signed = bundleManifest(digest, makeBundle(statement(), KEY));
  const list = referrersIndex([...Array.from({ length: 70 }, () => strange), signed]);
  await using scene = await startWith({ [FALLBACK]: list });
  assert.equal(await scene.resolve(), digest);
  assert.equal(scene.registry.countRequests(/GET .*blobs/), 2);
});

describe('a list of referrers whose second page fails', () => {
  const rows = [
    ['serves the image that a signature on the first one is for', KEY, undefined],
    ['is the error where none on the first one counts', STRANGER, 'REGISTRY_FAILED'],
  ] as const;
  for (const [name, key, code] of rows) {
    test(name, async () => {
      const signed = bundleManifest(digest, makeBundle(statement(), key));
      const body = referrersIndex([signed], { artifactType: BUNDLE }).manifest.bytes.toString();
      await using scene = await startWith({}, { registry: { referrers: true } });
      scene.registry.push(REPOSITORY, signed.manifest.digest, signed);
      const headers = { Link: '</elsewhere>; rel="next"' };
      scene.registry.defects.failWith = { pattern: /referrers/, status: 200, headers, body };
      if (code === undefined) assert.equal(await scene.resolve(), digest);
      else await refusal(scene.resolve(), code);
    });
  }
});

describe('a registry that offers any number of documents is left', () => {
  test('after 32 signatures of a tag', async () => {
    const payloads = Array.from({ length: 100 }, (_, at) => makePayload(digest, `registry.example/${at}`));
    const layers = payloads.map((payload) => signedLayer(payload, STRANGER.sign(payload)));
    await using scene = await startWith(inTag(layers));
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.equal(scene.registry.countRequests(/GET .*blobs/), 32);
    assert.match(details.hints?.[0] ?? '', /no more than 32 of a kind and 64 documents are looked at/);
  });

  test('after 64 documents', async () => {
    const bundles = Array.from({ length: 10_000 }, (_, at) => ({ at }));
    const [first = ''] = [makeBundle(statement(), STRANGER).toString()];
    const pushed = bundles
      .slice(0, 40)
      .map(({ at }) => bundleManifest(digest, Buffer.from(`${first}${' '.repeat(at)}`)));
    const list = referrersIndex(pushed);
    const many = JSON.parse(list.manifest.bytes.toString()) as { manifests: object[] };
    const padding = bundles.map(({ at }) => ({
      ...many.manifests[0],
      digest: `sha256:${String(at).padStart(64, '0')}`,
    }));
    const body = JSON.stringify({ ...many, manifests: [...many.manifests, ...padding].slice(0, 3_000) });
    await using scene = await startWith({}, { registry: { referrers: true } });
    for (const one of pushed) scene.registry.push(REPOSITORY, one.manifest.digest, one);
    const next = { Link: `</v2/${REPOSITORY}/referrers/${digest}?page=2>; rel="next"` };
    scene.registry.defects.failWith = { pattern: /referrers/, status: 200, headers: next, body };
    const { details } = await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.match(details.hints?.[0] ?? '', /and 64 documents are looked at/);
    assert.equal(scene.registry.countRequests(/referrers/), 1);
    // The image, its tag of signatures, 32 bundles and the manifests around them, but no more than 64 documents.
    assert.ok(
      scene.registry.countRequests(/GET/) <= 1 + 64 + 1,
      `${scene.registry.countRequests(/GET/)} requests`,
    );
  });

  test('after 20 pages of referrers', async () => {
    await using scene = await startWith({}, { registry: { referrers: true } });
    const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
    const next = { Link: `</v2/${REPOSITORY}/referrers/${digest}?page=2>; rel="next"` };
    scene.registry.defects.failWith = { pattern: /referrers/, status: 200, headers: next, body };
    await refusal(scene.resolve(), 'IMAGE_NOT_SIGNED');
    assert.equal(scene.registry.countRequests(/referrers/), 20);
  });
});
