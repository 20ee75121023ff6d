/**
 * A content digest, `algorithm:hex`.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
export type Digest = `${DigestAlgorithm}:${string}`;

/** The algorithms that this product verifies. The specification requires `sha256` and registers `sha512`. */
export type DigestAlgorithm = 'sha256' | 'sha512';

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };

/**
 * Whether `text` is a digest that this product can verify.
 *
 *     digest    ::= algorithm ":" encoded
 *     algorithm ::= "sha256" | "sha512"
 *     encoded   ::= [a-f0-9]{64} | [a-f0-9]{128}
 */
export function isDigest(text: unknown): text is Digest {
  if (typeof text !== 'string') return false;
  const { algorithm, hex } = splitDigest(text);
  return (
    (algorithm === 'sha256' || algorithm === 'sha512') &&
    hex.length === HEX_LENGTH[algorithm] &&
    /^[a-f0-9]+$/.test(hex)
  );
}

/** The algorithm of a digest. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return splitDigest(digest).algorithm as DigestAlgorithm;
}

/** The hexadecimal part of a digest, for names of files and folders. */
export function digestHex(digest: Digest): string {
  return splitDigest(digest).hex;
}

function splitDigest(text: string): { algorithm: string; hex: string } {
  const colon = text.indexOf(':');
  return { algorithm: text.slice(0, colon), hex: text.slice(colon + 1) };
}
