import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassthroughError } from '../errors.ts';
import { storageError } from './storage-error.ts';
import { TemporaryFile } from './temporary-file.ts';

/** Starts the name of every file that is made here. */
const PREFIX = 'docker-http-passthrough-';

/** Bytes of chance in a name: no two files meet. */
const RANDOM_BYTES = 16;

/** The names of files that are made here: nothing else is ever touched, such as `docker-http-passthrough-1.0.tgz`. */
const NAME = new RegExp(`^${PREFIX}[0-9a-f]{${2 * RANDOM_BYTES}}$`);

/**
 * A folder for files that live as long as this process has them open.
 *
 * Each file is removed from the folder as soon as it is created; the system keeps its bytes until the last handle is
 * closed. So nothing is left behind whatever happens, a `kill -9` included, and no start has to find out whose files it
 * sees. All that a kill can leave is one empty file, between creating and removing, which the next start removes: a name
 * that its owner no longer needs, so this is safe beside other processes too.
 *
 * The folder must be on a local file system. Space in use shows in `df` and `lsof +L1`, not in `ls` and `du`.
 */
export class Workspace {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * Opens a workspace, making the folder where it is missing, and removes what a killed process left in it.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` when the folder cannot be made or written
   */
  static async open(directory: string): Promise<Workspace> {
    const workspace = new Workspace(directory);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const left = (await readdir(directory)).filter((name) => NAME.test(name));
      await Promise.all(left.map((name) => rm(join(directory, name), { force: true })));
      await workspace.probe();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new PassthroughError(
        'INVALID_CONFIGURATION',
        `Cannot use workspace ${JSON.stringify(directory)}: ${why}`,
        { cause },
      );
    }
    return workspace;
  }

  /**
   * Creates an empty file that exists for its holder alone.
   *
   * @throws PassthroughError `NO_SPACE`, `BUSY` when too many files are open, `INTERNAL`
   */
  async createFile(): Promise<TemporaryFile> {
    const path = join(this.directory, `${PREFIX}${randomBytes(RANDOM_BYTES).toString('hex')}`);
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      await rm(path, { force: true });
      return new TemporaryFile(handle);
    } catch (error) {
      await handle?.close();
      throw storageError(error);
    }
  }

  /**
   * Checks that files can be created and written.
   *
   * @throws PassthroughError as {@link createFile}
   */
  async probe(): Promise<void> {
    const file = await this.createFile();
    try {
      await file.write(Buffer.from('\n'));
    } finally {
      await file.close();
    }
  }
}
