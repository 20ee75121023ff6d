/** The rows of single commands: `pull` beside the service and its peers, `inspect` beside `sha256sum`. */

import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../test/real/parts.ts';
import type { FleetImage } from './images.ts';
import { craneSeconds, has, skopeoSeconds } from './peers.ts';
import { compete, emptyRow, type Row, row } from './rows.ts';

/** Longest run of a command, in milliseconds. */
const COMMAND_MS = 600_000;

/** Layouts that are compared. */
const LAYOUTS = ['docker', 'docker-gzip'] as const;
type Layout = (typeof LAYOUTS)[number];

/** What the commands run with. */
export interface CommandBench {
  /** The built program. */
  readonly main: string;
  /** Temporary files. */
  readonly folder: string;
  /** Host and port of the registry. */
  readonly host: string;
  /** About 1 GB uncompressed. */
  readonly image: FleetImage;
  readonly turns: number;
  /** Seconds of a first pull from a new service, in a layout, into a file. */
  readonly servicePull: (layout: Layout) => Promise<number>;
}

/** One run of a command. */
interface CommandRun {
  /** From the start of the process to its end. */
  readonly seconds: number;
  /** `VmHWM` in proc(5). */
  readonly peakBytes: number;
}

/** `pull` into a file, with an empty store. */
export async function pullRows(bench: CommandBench): Promise<Row[]> {
  const { folder, host, image, turns, servicePull } = bench;
  const reference = `${image.repository}:1`;
  const crane = has('crane') ? () => craneSeconds(host, reference, folder) : undefined;
  const skopeo = has('skopeo') ? () => skopeoSeconds(host, reference, folder) : undefined;
  const rows: Row[] = [];
  for (const layout of LAYOUTS) {
    const peaks: number[] = [];
    const ours = async () => {
      const { seconds, peakBytes } = await pullOnce(bench, layout);
      peaks.push(peakBytes);
      return seconds;
    };
    const peers = { service: () => servicePull(layout), ...(layout === 'docker' ? { skopeo } : { crane }) };
    const seconds = await compete<number, 'service' | 'skopeo' | 'crane'>(turns, ours, {
      ...{ skopeo: undefined, crane: undefined },
      ...peers,
    });
    const what = `pull command, ${layout}`;
    const of = (peer: 'service' | 'skopeo' | 'crane') => ({ ours: seconds.ours, peer: seconds[peer] });
    rows.push(row({ what: `${what} / first pull of the service, s`, target: '≤ 1.10', ...of('service') }));
    const [name, target] =
      layout === 'docker' ? (['skopeo', '≤ 0.60'] as const) : (['crane', '≤ 1.20'] as const);
    rows.push(
      has(name)
        ? row({ what: `${what} / ${name}, s`, target, ...of(name) })
        : emptyRow(`${what}: ${name} is not installed`, target),
    );
    rows.push(memoryRow(what, peaks));
  }
  return rows;
}

/** `inspect`, which hashes everything and uncompresses layers, beside a program that only hashes the file. */
export async function inspectRows(bench: CommandBench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const layout of LAYOUTS) {
    const file = join(bench.folder, 'inspected.tar');
    await pullTo(bench, layout, file);
    const peaks: number[] = [];
    const ours = async () => {
      const { seconds, peakBytes } = await runProgram(bench, ['inspect', file]);
      peaks.push(peakBytes);
      return seconds;
    };
    const timed = async (command: string, ...args: readonly string[]) => {
      const begun = performance.now();
      await run(command, args, { timeout: COMMAND_MS });
      return (performance.now() - begun) / 1000;
    };
    // What inspect does, with the usual tools: hash each layer as it is and uncompressed.
    const tools = () =>
      timed(
        'bash',
        '-c',
        'set -o pipefail; sha256sum "$0"; tar -xOf "$0" --wildcards "*.tar.gz" | gzip -dc | sha256sum',
        file,
      );
    const { turns } = bench;
    const seconds = await compete<number, 'sha256sum' | 'tools'>(turns, ours, {
      sha256sum: () => timed('sha256sum', file),
      tools: layout === 'docker-gzip' ? tools : undefined,
    });
    rmSync(file);
    const what = `inspect, ${layout}`;
    const target = '≤ 1.30';
    rows.push(
      row({
        what: `${what} / sha256sum of the file, s`,
        target,
        ours: seconds.ours,
        peer: seconds.sha256sum,
      }),
    );
    if (seconds.tools !== undefined) {
      const peer = seconds.tools;
      rows.push(
        row({ what: `${what} / sha256sum, and gzip -dc | sha256sum, s`, target, ours: seconds.ours, peer }),
      );
    }
    rows.push(memoryRow(what, peaks));
  }
  return rows;
}

function memoryRow(what: string, peaks: readonly number[]): Row {
  const ours = peaks.map((bytes) => bytes / 1e6);
  return row({ what: `${what}, peak memory, MB`, target: '≤ 150 MB', ours });
}

async function pullOnce(bench: CommandBench, layout: Layout): Promise<CommandRun> {
  const file = join(bench.folder, 'pulled.tar');
  try {
    return await pullTo(bench, layout, file);
  } finally {
    rmSync(file, { force: true });
  }
}

async function pullTo(bench: CommandBench, layout: Layout, file: string): Promise<CommandRun> {
  const reference = `${bench.host}/${bench.image.repository}:1`;
  rmSync(file, { force: true });
  // Otherwise this turn could wait for the writes of earlier turns.
  await run('sync', [], { timeout: COMMAND_MS });
  return await runProgram(bench, [
    'pull',
    '-q',
    '--platform',
    'linux/amd64',
    '--layout',
    layout,
    reference,
    file,
  ]);
}

async function runProgram({ main, folder }: CommandBench, args: readonly string[]): Promise<CommandRun> {
  const report = join(folder, 'status');
  // At its end the program writes what the kernel knows of it, which is gone when the process is.
  const hook = `import { readFileSync, writeFileSync } from 'node:fs';
    process.on('exit', () => writeFileSync(${JSON.stringify(report)}, readFileSync('/proc/self/status')));`;
  const importing = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`];
  const begun = performance.now();
  await run(process.execPath, [...importing, main, ...args], {
    env: { WORKSPACE_DIR: folder },
    timeout: COMMAND_MS,
  });
  const seconds = (performance.now() - begun) / 1000;
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(report, 'utf8'))?.[1] ?? Number.NaN;
  return { seconds, peakBytes: Number(kilobytes) * 1024 };
}
