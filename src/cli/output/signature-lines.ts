import type { SignatureReport } from '../../pull/signatures/verifier.ts';
import { printable, quoted } from '../../util/printable.ts';
import { PROGRAM } from '../command.ts';
import { write } from './print.ts';

/** Longest line, in characters. */
const MAX_LINE_LENGTH = 2000;

/** Tells on standard error how the signature of an image was judged. A refusal is an error, which is shown in another way. */
export function reportSignature(report: SignatureReport, isQuiet: boolean): void {
  const line = lineOf(report);
  if (line === undefined || (isQuiet && report.result === 'verified')) return;
  void write(process.stderr, `${printable(line, MAX_LINE_LENGTH)}\n`).catch(() => undefined);
}

function lineOf({ result, image, digest, key, reason, isServed }: SignatureReport): string | undefined {
  if (key !== undefined) return `Signed: ${image} (${digest}) with key ${quoted(key.name)}`;
  if (!isServed) return undefined;
  const what = result === 'unchecked' ? 'could not be verified' : 'is not valid, or there is none';
  return `${PROGRAM}: the signature of ${image} ${what}: ${reason ?? ''}`;
}
