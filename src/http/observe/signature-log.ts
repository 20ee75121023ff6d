import type { ResolvedOptions } from '../../pull/options.ts';
import type { Logger, LogLevel } from '../../telemetry/log.ts';

/** Event and level of each result. A refusal is also in the line of its request. */
const EVENTS = {
  verified: ['signature_verified', 'info'],
  not_signed: ['image_not_signed', 'warn'],
  unchecked: ['signature_not_checked', 'warn'],
} as const satisfies Readonly<Record<string, readonly [event: string, level: LogLevel]>>;

/** Writes the log of signatures: a line for each image that is judged, and one for each file of keys that cannot be used. */
export function signatureLog(logger: Logger): Pick<ResolvedOptions, 'onSignature' | 'onKeyFault'> {
  return {
    onSignature: ({ result, image, digest, key, reason, isServed }) => {
      const [event, level] = EVENTS[result];
      const ofKey = key && { key: key.name, fingerprint: key.fingerprint };
      logger.log(level, event, { image, digest, ...ofKey, message: reason, served: isServed });
    },
    onKeyFault: (message) => logger.log('error', 'signature_key', { message }),
  };
}
