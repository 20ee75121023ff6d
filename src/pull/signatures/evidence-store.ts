import { createHash } from 'node:crypto';
import type { Digest } from '../../image/digest.ts';
import { fieldsOf } from '../../image/json.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import { contentOfBytes } from '../../util/content.ts';
import type { ReferenceCache } from '../cache/reference-cache.ts';
import type { Evidence } from './judge.ts';

/**
 * Keeps signatures beside the manifests that they are for, in memory and where manifests are kept on disk: a restart during an outage
 * of the registry can then still serve a signed image, and other keys are judged anew. What is read is judged again, so a damaged
 * or a forged file gains nothing.
 */
export class EvidenceStore {
  readonly #references: ReferenceCache;

  constructor(references: ReferenceCache) {
    this.#references = references;
  }

  /** Returns the signature of a digest, if one is kept. */
  async find(location: RepositoryLocation, digest: Digest): Promise<Evidence | undefined> {
    const kept = this.#references.digestOf(location, nameOf(digest));
    const found = kept && (await this.#references.staleDocument(location, kept));
    if (found === undefined) return undefined;
    try {
      return parse(await found.content.readWhole());
    } finally {
      found.content.release();
    }
  }

  /** Keeps a signature that any client may see: one that was fetched without credentials. */
  async keep(
    location: RepositoryLocation,
    digest: Digest,
    { document, ...evidence }: Evidence,
  ): Promise<void> {
    const encoded = Buffer.from(document).toString('base64');
    const signature = evidence.form === 'tag' ? { signature: evidence.signature } : {};
    const bytes = Buffer.from(JSON.stringify({ form: evidence.form, document: encoded, ...signature }));
    const kept: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await this.#references.persistDocument(location, {
      digest: kept,
      content: contentOfBytes(bytes),
      contentType: '',
    });
    this.#references.confirm(location, nameOf(digest), kept, true);
  }
}

/** A name that no tag and no digest has. */
function nameOf(digest: Digest): string {
  return `signature-of:${digest}`;
}

function parse(bytes: Uint8Array): Evidence | undefined {
  try {
    const { form, document, signature } = fieldsOf(JSON.parse(Buffer.from(bytes).toString('utf8')));
    if (typeof document !== 'string') return undefined;
    const decoded = Buffer.from(document, 'base64');
    if (form === 'tag') return { form, document: decoded, signature };
    return form === 'bundle' ? { form, document: decoded } : undefined;
  } catch {
    return undefined;
  }
}
