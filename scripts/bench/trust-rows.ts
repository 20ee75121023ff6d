/** The rows of what is checked before an answer: cached answers with mirrors and with signatures, beside answers without. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuiltService } from '../../test/support/built-service.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../../test/support/signing.ts';
import { type FleetImage, push } from './images.ts';
import { type CountingRegistry, type Fetched, load, loadProgram } from './peers.ts';
import { compete, emptyRow, type Row, row } from './rows.ts';

/** The target of all rows: no slower, but for the noise of this measurement. */
const TARGET = '≥ 0.90';

/** What these rows need. */
export interface TrustBench {
  /** Temporary files. */
  readonly folder: string;
  readonly registry: CountingRegistry;
  /** About 10 KB. */
  readonly image: FleetImage;
  readonly turns: number;
  /** Calls `use` with a new service that has these further variables. */
  readonly withService: <T>(
    use: (service: BuiltService) => Promise<T>,
    more?: Readonly<Record<string, string>>,
  ) => Promise<T>;
  /** Fetches into a file and removes it. */
  readonly fetchOnce: (url: string) => Promise<Fetched>;
}

/** The same registry under another name is its mirror; one that is down costs a request in minutes. */
export async function mirrorRows(bench: TrustBench): Promise<Row[]> {
  const { host, port } = new URL(bench.registry.origin);
  const rows: Row[] = [];
  for (const [what, mirror] of [
    ['a mirror that answers', `http://localhost:${port}`],
    ['a mirror that is down', 'http://127.0.0.1:9'],
  ] as const) {
    rows.push(await besidePlain(bench, what, { REGISTRY_MIRRORS: `${host}=${mirror}` }));
  }
  return rows;
}

/** With a key that the image is signed with. */
export async function signatureRows(bench: TrustBench): Promise<Row[]> {
  const { folder, registry, image } = bench;
  const key = makeSigningKey();
  const path = join(folder, 'release.pub');
  writeFileSync(path, key.pem);
  const digest = await digestOf(registry, image.repository);
  const { manifest, blobs } = signedByTag(digest, key);
  const asBlobs = new Map(Array.from(blobs, ([name, bytes]) => [name, new Blob([new Uint8Array(bytes)])]));
  await push(registry.origin, image.repository, signatureTags(digest).tag, { manifest, blobs: asBlobs });
  return [await besidePlain(bench, 'a signature', { SIGNATURE_KEYS: path })];
}

async function digestOf({ origin }: CountingRegistry, repository: string): Promise<string> {
  const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json' };
  const response = await fetch(`${origin}/v2/${repository}/manifests/1`, { headers });
  await response.body?.cancel();
  const digest = response.headers.get('Docker-Content-Digest');
  if (digest === null) throw new Error(`${repository} has no digest: status ${response.status}`);
  return digest;
}

/** Answers of a service with further variables, beside one without. */
async function besidePlain(
  { image, turns, withService, fetchOnce }: TrustBench,
  what: string,
  variables: Readonly<Record<string, string>>,
): Promise<Row> {
  const name = `small image cached, ${what} / none, answers/s`;
  if (loadProgram() === undefined) return emptyRow(`${name}: neither wrk nor ab is installed`, TARGET);
  const address = ({ port }: BuiltService) => `http://127.0.0.1:${port}/docker/${image.fileName}.tar`;
  return await withService(
    (one) =>
      withService(async (other) => {
        const [url, plain] = [address(one), address(other)];
        await Promise.all([fetchOnce(url), fetchOnce(plain)]);
        const perSecond = async (of: string) => (await load(of)).perSecond;
        const rates = await compete(turns, () => perSecond(url), { plain: () => perSecond(plain) });
        return row({ what: name, target: TARGET, ours: rates.ours, peer: rates.plain });
      }),
    variables,
  );
}
