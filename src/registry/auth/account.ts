import { createHmac, randomBytes } from 'node:crypto';
import { basicAuthorization, type Credential } from './credentials.ts';

/** Key of {@link accountOf}, so that its result tells nothing about the password. */
const ACCOUNT_KEY = randomBytes(32);

/**
 * The client's account that a credential belongs to: equal credentials give equal names, which hold nothing of them.
 *
 * @returns `undefined` without a client's credentials: such work may be shared by all
 */
export function accountOf(credential: Credential): string | undefined {
  if (credential.type !== 'basic' || credential.source !== 'client') return undefined;
  return createHmac('sha256', ACCOUNT_KEY).update(basicAuthorization(credential.basic)).digest('base64');
}
