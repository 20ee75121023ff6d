#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { serve } from './cli/serve.ts';
import { isPassthroughError } from './errors.ts';
import { printableLines, quoted } from './util/printable.ts';
import { systemErrorCode } from './util/system-error.ts';
import { VERSION } from './version.ts';

const HELP = `Usage: docker-http-passthrough [command]

Serves container images as tar archives over plain HTTP.

Commands
  serve            answer GET /docker/{image}_{tag}.tar (the default)

Options
  -v, --version    print the version
  -h, --help       print this text

serve reads its settings from the environment and from .env in the working directory; docs/configuration.md lists
them. The ones most often set: HTTP_PORT (8080), REGISTRY_URL (Docker Hub), REGISTRY_USERNAME, REGISTRY_PASSWORD,
CACHE_DIR (none), LOG_LEVEL (info).
`;

/** Exit codes besides 0: the command failed; the command line or the configuration is wrong. */
const FAILED = 1;
const MISUSED = 2;

/** Longest line, in characters, and most lines of a complaint: it quotes what the environment holds. */
const MAX_LINE_LENGTH = 1000;
const MAX_LINES = 20;

// Without an explicit exit, an export to a collector that does not answer keeps the process alive until its timeout.
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { version: { type: 'boolean', short: 'v' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    if (values.help === true) return print(HELP);
    if (values.version === true) return print(`docker-http-passthrough ${VERSION}\n`);
    const [command = 'serve', ...extra] = positionals;
    if (command !== 'serve' || extra.length > 0) {
      return complain(`Unknown command ${quoted(positionals.join(' '))}: see --help`, MISUSED);
    }
    loadDotEnv();
    return await serve(process.env);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isMisuse = isPassthroughError(error, 'INVALID_CONFIGURATION') || isParseArgsError(error);
    return complain(message, isMisuse ? MISUSED : FAILED);
  }
}

/** Adds the variables of `.env` in the working directory, unless they are set already. The file may be missing. */
function loadDotEnv(): void {
  try {
    process.loadEnvFile('.env');
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`docker-http-passthrough: ${printableLines(message, MAX_LINE_LENGTH, MAX_LINES)}\n`);
  return exitCode;
}

function isParseArgsError(error: unknown): boolean {
  return systemErrorCode(error)?.startsWith('ERR_PARSE_ARGS') === true;
}
