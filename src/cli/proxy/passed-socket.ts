import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { systemErrorCode } from '../../util/system-error.ts';
import { misuse } from '../options/parse.ts';

/** What a parent must pass. */
const FORM = 'Pass one end of a connected stream socket, such as of socketpair()';

/**
 * Takes over a socket that the parent of this process has passed. It is read at once, so its listeners must be added before anything
 * else is awaited.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` if the file descriptor is no stream socket
 */
export function passedSocket(fd: number): Socket {
  try {
    // A pipe would be taken, too, and then have no way back.
    if (fstatSync(fd).isSocket()) return new Socket({ fd, readable: true, writable: true });
  } catch (error) {
    const code = systemErrorCode(error) ?? String(error);
    throw misuse(`Cannot use --sockfd=${fd}: it cannot be opened (${code})`, FORM);
  }
  throw misuse(`Cannot use --sockfd=${fd}: it is no socket`, FORM);
}
