#!/usr/bin/env node
import { quickAnswer } from './cli/quick.ts';

const args = process.argv.slice(2);
const answer = quickAnswer(args);
if (answer === undefined) {
  const { run } = await import('./cli/run.ts');
  // Without an explicit exit, an export to a collector that does not answer keeps the process alive until its timeout.
  process.exit(await run(args, process.env));
}
process.stdout.write(answer);
