/** The rows of archives that the service alone has: spliced gzip, early start, updates and packages. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../test/real/parts.ts';
import type { BuiltService } from '../../test/support/built-service.ts';
import type { FleetImage } from './images.ts';
import { type Fetched, fetchFile, has, startNginx } from './peers.ts';
import { compete, emptyRow, type Row, row } from './rows.ts';

/** What these rows need. */
export interface ArchiveBench {
  /** Temporary files. */
  readonly folder: string;
  /** What nginx serves. */
  readonly root: string;
  /** About 1 GB uncompressed. */
  readonly image: FleetImage;
  /** With three layers of equal size. */
  readonly equal: FleetImage;
  readonly turns: number;
  /** Calls `use` with a new service and the folder of its cache, which is empty. */
  readonly withService: <T>(use: (service: BuiltService, cache: string) => Promise<T>) => Promise<T>;
  /** Fetches into a file and removes it. */
  readonly fetchOnce: (url: string) => Promise<Fetched>;
  /** The installed peers that copy images. */
  readonly copiers: { readonly crane: (() => Promise<number>) | undefined };
}

/** A gzipped archive, which is made of the registry's blobs. */
export async function gzippedRows(bench: ArchiveBench): Promise<Row[]> {
  const { image, turns, fetchOnce, withService, folder, root } = bench;
  const disk: number[] = [];
  const ours = () =>
    withService(async (service, cache) => {
      const { firstByteMs } = await fetchOnce(address(service, `docker/${image.fileName}.tgz`));
      disk.push(await diskBytes(cache));
      return firstByteMs;
    });
  const firsts = await compete(turns, ours, {
    tar: () => firstByteOf(bench, `docker/${image.fileName}.tar`),
  });

  await withService(async (service) => {
    await fetchFile(address(service, `docker/${image.fileName}.tgz`), join(root, 'big.tgz'));
  });
  await using nginx = has('nginx') ? await startNginx(folder, root) : undefined;
  const cached = await withService(async (service) => {
    const url = address(service, `docker/${image.fileName}.tgz`);
    await fetchOnce(url);
    return await compete(turns, async () => rateOf(await fetchOnce(url)), {
      nginx: nginx && (async () => rateOf(await fetchOnce(`${nginx.origin}/big.tgz`))),
    });
  });
  rmSync(join(root, 'big.tgz'));
  const size = disk.map(() => image.compressed);
  return [
    row({
      what: 'first .tgz / first .tar, first byte, ms',
      target: '≤ 1.00',
      ours: firsts.ours,
      peer: firsts.tar,
    }),
    row({ what: 'cached .tgz / nginx, MB/s', target: '≥ 0.90', ours: cached.ours, peer: cached.nginx }),
    row({ what: 'disk after .tgz / compressed size, B', target: '≤ 1.05', ours: disk, peer: size }),
  ];
}

/** The early start beside a program that streams, and beside the prepared start. */
export async function earlyRows(bench: ArchiveBench): Promise<Row[]> {
  const { image, equal, turns, copiers } = bench;
  const whole = await compete(turns, () => secondsOf(bench, `early/docker-gzip/${image.fileName}.tar`), {
    crane: copiers.crane,
  });
  const firstByte = await compete(turns, () => firstByteOf(bench, `early/docker/${equal.fileName}.tar`), {
    prepared: () => firstByteOf(bench, `docker/${equal.fileName}.tar`),
  });
  const what = 'early docker-gzip / crane, s';
  return [
    copiers.crane === undefined
      ? emptyRow(`${what}: crane is not installed`, '≤ 1.20')
      : row({ what, target: '≤ 1.20', ours: whole.ours, peer: whole.crane }),
    row({
      what: 'early / prepared, 3 equal layers, first byte, ms',
      target: '≤ 0.50',
      ours: firstByte.ours,
      peer: firstByte.prepared,
    }),
  ];
}

/** One small layer on a big image, as an update and as a whole; nothing is cached. */
export async function updateRows(bench: ArchiveBench): Promise<Row[]> {
  const { image, turns, fetchOnce, withService } = bench;
  const fileName = image.fileName.replace(/_1$/, '_2');
  const fetched = (path: string) => () => withService((service) => fetchOnce(address(service, path)));
  const all = await compete(turns, fetched(`since/1/docker/${fileName}.tar`), {
    whole: fetched(`docker/${fileName}.tar`),
  });
  const of = (value: (one: Fetched) => number) => ({
    ours: all.ours.map(value),
    peer: all.whole?.map(value),
  });
  return [
    row({ what: 'update / whole, MB', target: '≤ 0.05', ...of(({ bytes }) => bytes / 1e6) }),
    row({ what: 'update / whole, s', target: '≤ 0.10', ...of(({ seconds }) => seconds) }),
  ];
}

/** A package beside the archive that is in it. */
export async function packageRows(bench: ArchiveBench): Promise<Row[]> {
  const { image, turns } = bench;
  const firsts = await compete(turns, () => firstByteOf(bench, `iox/${image.fileName}.tar`), {
    tgz: () => firstByteOf(bench, `docker/${image.fileName}.tgz`),
  });
  const what = 'first IOx package / first .tgz, first byte, ms';
  return [row({ what, target: '≤ 1.30', ours: firsts.ours, peer: firsts.tgz })];
}

function address({ port }: BuiltService, path: string): string {
  return `http://127.0.0.1:${port}/${path}`;
}

/** Milliseconds to the first byte from a new service. */
async function firstByteOf(bench: ArchiveBench, path: string): Promise<number> {
  const { firstByteMs } = await bench.withService((service) => bench.fetchOnce(address(service, path)));
  return firstByteMs;
}

/** Seconds of a whole download from a new service. */
async function secondsOf(bench: ArchiveBench, path: string): Promise<number> {
  const { seconds } = await bench.withService((service) => bench.fetchOnce(address(service, path)));
  return seconds;
}

function rateOf({ bytes, seconds }: Fetched): number {
  return bytes / 1e6 / seconds;
}

/** Bytes that a folder takes on the disk. */
async function diskBytes(path: string): Promise<number> {
  const said = await run('du', ['-s', '--block-size=1', path]);
  return Number.parseInt(said, 10);
}
