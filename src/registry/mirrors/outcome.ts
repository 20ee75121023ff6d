import { isPassthroughError } from '../../errors.ts';

/**
 * How a mirror answered: `answered`; `missing`: it has no such manifest or blob, or does not know the request; `refused`: 401, 403, or
 * by TLS for want of a client certificate; `wrong`: its bytes are not those of the digest, too many, or no manifest; `failed`: it
 * cannot answer, and is left alone for a while; `skipped`: it is left alone.
 */
export type MirrorResult = 'answered' | 'missing' | 'refused' | 'wrong' | 'failed' | 'skipped';

/** Failures that say nothing about the image or the client, only that the registry cannot answer. Any other 4xx is a refusal. */
export function isRegistryDown(error: unknown): boolean {
  if (isPassthroughError(error, 'REGISTRY_UNREACHABLE', 'REGISTRY_TIMEOUT', 'REGISTRY_RATE_LIMITED'))
    return true;
  return isPassthroughError(error, 'REGISTRY_FAILED') && (error.details.registryStatus ?? 0) >= 500;
}

/**
 * Whether a failed mirror is left alone for the repository alone that was asked for. Pull-through caches answer 500 for what they may
 * not fetch, such as a private image.
 */
export function concernsRepository(error: unknown): boolean {
  if (!isPassthroughError(error, 'REGISTRY_FAILED')) return false;
  const { registryStatus } = error.details;
  return registryStatus === 500 || registryStatus === 501;
}

/**
 * What the error of a mirror means.
 *
 * @returns `undefined` for an error that is not the mirror's: the caller has left, the disk is full
 */
export function resultOf(error: unknown): MirrorResult | undefined {
  if (!isPassthroughError(error)) return undefined;
  switch (error.code) {
    case 'IMAGE_NOT_FOUND':
      return 'missing';
    case 'REGISTRY_DENIED':
      return 'refused';
    case 'REGISTRY_UNREACHABLE':
      // An alert about the certificate of the client. It says nothing about requests that show another one.
      return error.details.setting === 'clientIdentity' ? 'refused' : 'failed';
    case 'VERIFICATION_FAILED':
    case 'IMAGE_TOO_LARGE':
    // No manifest, or one that no engine takes any more.
    case 'UNSUPPORTED_IMAGE':
      return 'wrong';
    case 'REGISTRY_TIMEOUT':
    case 'REGISTRY_RATE_LIMITED':
    // Its name resolves to a forbidden address.
    case 'REGISTRY_NOT_ALLOWED':
    // Its own credentials cannot be read.
    case 'INVALID_CONFIGURATION':
      return 'failed';
    case 'REGISTRY_FAILED': {
      // Clients choose what is asked for. A status that is about the request must not close the mirror to others.
      const { registryStatus = 500 } = error.details;
      return registryStatus >= 400 && registryStatus < 500 ? 'missing' : 'failed';
    }
    default:
      return undefined;
  }
}

/** Whether another source may answer: an error of the source, not of the caller or of this machine. */
export function goesOn(error: unknown, signal: AbortSignal): boolean {
  return !signal.aborted && resultOf(error) !== undefined;
}
