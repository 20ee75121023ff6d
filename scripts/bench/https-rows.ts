/** The row of HTTPS: what the service's processor pays to send a cached archive encrypted, beside by plain HTTP. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../test/real/parts.ts';
import type { BuiltService } from '../../test/support/built-service.ts';
import { makeCertificates } from '../../test/support/tls.ts';
import type { FleetImage } from './images.ts';
import { cpuSeconds } from './measure.ts';
import { compete, type Row, row } from './rows.ts';

/** Longest download, in milliseconds. */
const DOWNLOAD_MS = 300_000;

/** What this row needs. */
export interface HttpsBench {
  /** Temporary files. */
  readonly folder: string;
  /** About 1 GB uncompressed. */
  readonly image: FleetImage;
  readonly turns: number;
  /** Calls `use` with a new service that has these further variables. */
  readonly withService: <T>(
    use: (service: BuiltService) => Promise<T>,
    more?: Readonly<Record<string, string>>,
  ) => Promise<T>;
}

/** Both by the same service, so that only the encryption differs. */
export async function httpsRows({ folder, image, turns, withService }: HttpsBench): Promise<Row[]> {
  const { ca, cert, key } = await makeCertificates();
  const written = Object.entries({ ca, cert, key }).map(([name, pem]) => {
    const path = join(folder, `${name}.pem`);
    writeFileSync(path, pem);
    return [name, path] as const;
  });
  const paths = new Map(written);
  const variables = {
    TLS_CERT_FILE: paths.get('cert') ?? '',
    TLS_KEY_FILE: paths.get('key') ?? '',
    HTTPS_PORT: '0',
  };
  const seconds = await withService(async (service) => {
    const { httpsPort } = await service.waitForLog({ event: 'listening' });
    const file = `docker/${image.fileName}.tar`;
    const perGigabyte = async (origin: string): Promise<number> => {
      const before = await cpuSeconds(service.pid);
      const args = ['-sS', '--fail', '--cacert', paths.get('ca') ?? '', '-o', '/dev/null'];
      const facts = ['-w', '%{size_download}', `${origin}/${file}`];
      const bytes = Number(await run('curl', [...args, ...facts], { timeout: DOWNLOAD_MS }));
      return ((await cpuSeconds(service.pid)) - before) / (bytes / 1e9);
    };
    const plain = () => perGigabyte(`http://127.0.0.1:${service.port}`);
    // The first download prepares the archive, and is not measured.
    await plain();
    return await compete(turns, () => perGigabyte(`https://127.0.0.1:${httpsPort}`), { plain });
  }, variables);
  const what = 'cached archive by HTTPS / by HTTP, processor time for 1 GB, s';
  return [row({ what, target: '≤ 3.00', ours: seconds.ours, peer: seconds.plain })];
}
