/**
 * The recorded terminal of the README: runs commands against a service with a registry of its own, and draws what they print. The
 * input is fixed, so that the picture is the same at every run.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startFakeRegistry } from '../../test/support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../../test/support/image.ts';
import { startTestService } from '../../test/support/service.ts';
import { escaped, MONOSPACE } from './svg.ts';

const run = promisify(execFile);

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** What is typed. `docker load` needs an engine, so `inspect` shows that the archive is whole. */
const COMMANDS = [
  'curl -sS --fail -O http://localhost:8080/docker/nginx_1.25.tar',
  'docker-http-passthrough inspect nginx_1.25.tar',
  'curl -sS --fail -O http://localhost:8080/platform/ir1101/docker/nginx_1.25.tar.sha256',
  'curl -sS --fail -O http://localhost:8080/platform/ir1101/docker/nginx_1.25.tar',
  'sha256sum -c nginx_1.25.tar.sha256',
  'curl -sS http://localhost:8080/docker/nginx.tar | head -1',
] as const;

/** Milliseconds that a command may take. */
const LIMIT_MS = 30_000;

/** A command and what it printed. */
interface Step {
  readonly command: string;
  readonly output: string;
}

/** Runs the commands one after the other, in a folder of their own. */
async function record(): Promise<readonly Step[]> {
  await using registry = await startFakeRegistry();
  const images = ['amd64', 'arm64'].map((architecture) =>
    makeImage({
      platform: { os: 'linux', architecture },
      layers: ['base', 'nginx'].map((name) => ({
        tar: makeLayer({ [name]: `${name} for ${architecture}` }),
        compression: 'gzip' as const,
      })),
    }),
  );
  registry.push('library/nginx', '1.25', makeIndex(images.map((image) => ({ image }))));
  await using service = await startTestService({
    REGISTRY_URL: registry.url,
    REGISTRY_NAME: 'docker.io',
    REGISTRY_DEFAULT_NAMESPACE: 'library',
  });
  const folder = await mkdtemp(join(tmpdir(), 'terminal-'));
  try {
    // The reader's program, and the reader's port.
    const prelude =
      `docker-http-passthrough() { "${process.execPath}" "${MAIN}" "$@"; }\n` +
      `curl() { command curl -q --connect-to localhost:8080:127.0.0.1:${service.port} "$@"; }\n`;
    const env = { PATH: process.env['PATH'], HOME: folder, TERM: 'dumb', LC_ALL: 'C.UTF-8' };
    const steps: Step[] = [];
    for (const command of COMMANDS) {
      const script = `${prelude}set -o pipefail\n{ ${command}; } 2>&1`;
      const { stdout } = await run('bash', ['-c', script], { cwd: folder, env, timeout: LIMIT_MS });
      steps.push({ command, output: stdout.trimEnd() });
    }
    return steps;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Sizes in pixels. */
const FONT = 13;
const LINE = 19;
const CHARACTER = 7.83;
const PADDING = 16;
const BAR = 34;

/** Longest line, in characters; a longer one goes on below. */
const COLUMNS = 104;

const COLOURS = {
  paper: '#1e2430',
  bar: '#2b3343',
  prompt: '#7fd4a8',
  command: '#ffffff',
  output: '#c4cbd8',
};

/** Text in lines of at most {@link COLUMNS} characters. */
function folded(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => line.match(new RegExp(`.{1,${COLUMNS}}`, 'g')) ?? ['']);
}

function draw(steps: readonly Step[]): string {
  const lines = steps.flatMap(({ command, output }) => [
    `<tspan fill="${COLOURS.prompt}">$ </tspan><tspan fill="${COLOURS.command}">${escaped(command)}</tspan>`,
    ...(output === '' ? [] : folded(output).map(escaped)),
  ]);
  const width = Math.ceil(COLUMNS * CHARACTER) + 2 * PADDING;
  const height = BAR + lines.length * LINE + 2 * PADDING;
  const texts = lines.map(
    (line, index) =>
      `  <text x="${PADDING}" y="${BAR + PADDING + FONT + index * LINE}" xml:space="preserve">${line}</text>`,
  );
  const dots = ['#ff6b5e', '#f5bf4f', '#61c554'].map(
    (colour, index) => `  <circle cx="${PADDING + 6 + index * 20}" cy="${BAR / 2}" r="6" fill="${colour}"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    '  <title>A terminal: an image is downloaded with curl, inspected, and checked</title>',
    `  <rect width="${width}" height="${height}" rx="8" fill="${COLOURS.paper}"/>`,
    `  <path d="M0 8a8 8 0 0 1 8-8h${width - 16}a8 8 0 0 1 8 8v${BAR - 8}H0z" fill="${COLOURS.bar}"/>`,
    ...dots,
    `  <g font-family="${MONOSPACE}" font-size="${FONT}" fill="${COLOURS.output}">`,
    ...texts,
    '  </g>',
    '</svg>',
    '',
  ].join('\n');
}

/** The picture. */
export async function terminalPicture(): Promise<string> {
  return draw(await record());
}
