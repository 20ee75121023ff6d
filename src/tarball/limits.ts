/**
 * Limits of reading an archive. Contents are streamed, so these bound what is held in memory, and what a small file may make
 * the program do. Those of headers, names and the number of entries are in `tar/reader.ts`.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Largest `manifest.json`, in bytes: the limit of skopeo and podman (containers/image, `MaxTarFileManifestSize`). */
export const MAX_MANIFEST_FILE_SIZE = MIB;

/** Largest config, manifest, index or other document, in bytes: the limit of skopeo and podman (`MaxConfigBodySize`). */
export const MAX_DOCUMENT_SIZE = 4 * MIB;

/**
 * Most bytes of documents that are in memory at once: 32 images with configs of 512 KiB. A real config has some 10 KiB. A pass
 * over a stream keeps all of them, since it meets configs before the file that names them.
 */
export const MAX_KEPT_DOCUMENTS = 16 * MIB;

/**
 * Most values in all documents. `[]` has two bytes, and takes fifty when it is parsed: 16 MiB could become 400. A config and a
 * manifest of 40 layers have 1500.
 */
export const MAX_DOCUMENT_VALUES = 200_000;

/** Largest file that is hashed in one piece, in bytes. */
export const SMALL_FILE_SIZE = 64 * KIB;

/** Most bytes of all names together. 100,000 entries of 160 bytes, the length of a blob named by SHA-512. */
export const MAX_NAMES_SIZE = 16 * MIB;

/** Most images that an archive names. A bundle of the service has up to 32. */
export const MAX_IMAGES = 1000;

/** Most layers of an image in `manifest.json`, as in manifests (`image/manifest.ts`). Engines support 127. */
export const MAX_LAYERS = 1000;

/** Most entries of all indexes together. An index that names another index twice doubles what is read. */
export const MAX_INDEX_ENTRIES = 10_000;

/** Most indexes below each other: an index in `index.json`, as Docker Engine writes it, and two more. */
export const MAX_INDEX_DEPTH = 3;

/** Most links that lead from one to the next: SYMLOOP_MAX of POSIX is 8, Linux follows 40. */
export const MAX_LINKS = 40;

/**
 * Most bytes that the layers of an archive, or an archive that is compressed as a whole, have uncompressed, unless the caller
 * says otherwise: the default of the service.
 */
export const MAX_UNCOMPRESSED_SIZE = 32 * GIB;

/** Most memory of the zstd windows of layers that are read at once, in bytes: one of the largest, 128 MiB. Usual ones have 8 MiB. */
export const MAX_WINDOWS_SIZE = 136 * MIB;

/** Bytes of one read of a file. With 1 MiB a file is read twice as fast as with the 64 KiB of Node's streams. */
export const READ_SIZE = MIB;
