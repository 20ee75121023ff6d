/** Files of the certificate: what is refused at the start, and how they are replaced while the service runs. */

import assert from 'node:assert/strict';
import { mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { CertificateWatch } from '../../../src/http/listeners/certificate-watch.ts';
import {
  parseServerCertificate,
  readTlsTexts,
  type ServerCertificate,
} from '../../../src/http/listeners/server-certificate.ts';
import { type Authority, type Issued, makeAuthority } from '../../support/authority.ts';
import { Conditions } from '../../support/conditions.ts';
import { CHECK_MS, memoryLogger, type TlsFolder, writeTls } from '../../support/tls-server.ts';
import { within } from '../../support/within.ts';

const DAY_MS = 86_400_000;

let authority: Authority;
let own: Issued;
let next: Issued;
let middle: Issued;
before(async () => {
  authority = await makeAuthority();
  own = await authority.issue({ subject: '/CN=own' });
  next = await authority.issue({ subject: '/CN=next' });
  middle = await authority.issue({ subject: '/CN=middle', use: 'authority' });
});

const load = async ({ files }: TlsFolder) => parseServerCertificate(await readTlsTexts(files), files);

describe('at the start', () => {
  type Change = (folder: TlsFolder) => Promise<unknown>;
  const write =
    (name: keyof TlsFolder['files'], make: () => string): Change =>
    async ({ files }) =>
      await writeFile(files[name] ?? '', make());
  const table: readonly [what: string, variable: string, why: RegExp, change: Change][] = [
    [
      'a missing certificate',
      'TLS_CERT_FILE',
      /it cannot be read \(ENOENT\)$/,
      ({ files }) => unlink(files.certificate),
    ],
    ['a missing key', 'TLS_KEY_FILE', /it cannot be read \(ENOENT\)$/, ({ files }) => unlink(files.key)],
    [
      'a folder',
      'TLS_CERT_FILE',
      /it is a folder$/,
      async ({ files }) => {
        await unlink(files.certificate);
        await mkdir(files.certificate);
      },
    ],
    [
      'a device',
      'TLS_KEY_FILE',
      /it is no file$/,
      async ({ files }) => {
        await unlink(files.key);
        await symlink('/dev/zero', files.key);
      },
    ],
    [
      'a huge file',
      'TLS_CERT_FILE',
      /it has more than 1048576 bytes$/,
      write('certificate', () => 'x'.repeat(1_048_577)),
    ],
    ['an empty certificate', 'TLS_CERT_FILE', /it has no PEM certificate$/, write('certificate', () => '')],
    [
      'a key as certificate',
      'TLS_CERT_FILE',
      /it has no PEM certificate$/,
      write('certificate', () => own.key),
    ],
    ['a certificate as key', 'TLS_KEY_FILE', /it has no PEM private key$/, write('key', () => own.cert)],
    ['an empty key', 'TLS_KEY_FILE', /it has no PEM private key$/, write('key', () => '')],
    [
      'a key of another certificate',
      'TLS_CERT_FILE',
      /the key in TLS_KEY_FILE belongs to another certificate$/,
      write('key', () => next.key),
    ],
    [
      'a chain whose first certificate is an authority',
      'TLS_CERT_FILE',
      /the key in TLS_KEY_FILE belongs to certificate 2 of 2, which has to be the first$/,
      write('certificate', () => authority.cert + own.cert),
    ],
    [
      'a chain with a broken certificate',
      'TLS_CERT_FILE',
      /certificate 2 of 2 cannot be parsed$/,
      write('certificate', () => `${own.cert}${own.cert.replace(/^.{20}$/m, '').replace('MII', 'MIJ')}`),
    ],
    [
      'clients without an authority',
      'TLS_CLIENT_CA_FILE',
      /it has no PEM certificate$/,
      write('clientAuthorities', () => 'x'),
    ],
    [
      'an authority of clients without its root',
      'TLS_CLIENT_CA_FILE',
      /it has no root authority: add the certificate of "CN=authority"$/,
      write('clientAuthorities', () => middle.cert),
    ],
  ];
  for (const [what, variable, why, change] of table) {
    test(`${what} is refused, with variable and path`, async () => {
      const folder = await writeTls(own, authority.cert);
      await change(folder);
      await assert.rejects(load(folder), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'INVALID_CONFIGURATION');
        assert.ok(error.message.startsWith(`Cannot use ${variable}="${folder.path}/`), error.message);
        assert.match(error.message, why);
        return true;
      });
    });
  }

  test('a key with a passphrase is refused, and its text is not shown', async () => {
    const { execFileSync } = await import('node:child_process');
    const folder = await writeTls(own);
    const args = [
      'ec',
      '-aes128',
      '-passout',
      'pass:hunter2',
      '-in',
      folder.files.key,
      '-out',
      folder.files.key,
    ];
    execFileSync('openssl', args, { stdio: 'ignore' });
    await assert.rejects(load(folder), /TLS_KEY_FILE=.*: it is protected by a passphrase$/);
  });

  test('a file with a chain, text between the certificates and a key of its own is taken', async () => {
    const folder = await writeTls({
      cert: `# mine\n${own.key}\n${own.cert}\nauthority:\n${authority.cert}`,
      key: own.key,
    });
    assert.equal((await load(folder)).subject, 'CN=own');
  });
});

/** A watch whose certificates and log a test waits for. */
async function watch(folder: TlsFolder, now?: () => number) {
  const { log, logger } = memoryLogger();
  const subjects: string[] = [];
  const events = new Conditions();
  const started = await CertificateWatch.start(
    { files: folder.files, logger, checkMs: CHECK_MS, ...(now && { now }) },
    ({ subject }: ServerCertificate) => {
      subjects.push(subject);
      events.changed();
    },
  );
  return {
    log,
    subjects,
    until: (count: number) =>
      within(
        events.when(() => (subjects.length >= count ? true : undefined)),
        `certificate ${count}`,
      ),
    [Symbol.dispose]: () => started.stop(),
  };
}

/** Replaces a file in one step. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

describe('while the service runs', () => {
  test('renamed files are taken, one after the other, and nothing is said of the time between', async () => {
    const folder = await writeTls(own);
    using watched = await watch(folder);
    await replace(folder.files.key, next.key);
    await replace(folder.files.certificate, next.cert);
    await watched.until(2);
    assert.deepEqual(watched.subjects, ['CN=own', 'CN=next']);
    const { subject } = await watched.log.waitFor({ event: 'certificate', level: 'info' });
    assert.equal(subject, 'CN=next');
    assert.deepEqual(
      watched.log.events.filter(({ level }) => level === 'warn'),
      [],
    );
  });

  test('files that are written in place are taken', async () => {
    const folder = await writeTls(own);
    using watched = await watch(folder);
    await writeFile(folder.files.certificate, next.cert);
    await writeFile(folder.files.key, next.key);
    await watched.until(2);
  });

  test('links that are swapped, as kubelet does it, are taken', async () => {
    const folder = await writeTls(own);
    const folders = ['..one', '..two'].map((name) => join(folder.path, name));
    for (const [at, path] of folders.entries()) {
      await mkdir(path);
      const { cert, key } = at === 0 ? own : next;
      await writeFile(join(path, 'tls.crt'), cert);
      await writeFile(join(path, 'tls.key'), key);
    }
    const data = join(folder.path, '..data');
    await symlink('..one', data);
    for (const path of [folder.files.certificate, folder.files.key]) {
      await rm(path);
      await symlink(join('..data', path.slice(dirname(path).length + 1)), path);
    }
    using watched = await watch(folder);
    await symlink('..two', `${data}.new`);
    await rename(`${data}.new`, data);
    await watched.until(2);
    assert.deepEqual(watched.subjects, ['CN=own', 'CN=next']);
  });

  const broken: readonly [what: string, break_: (folder: TlsFolder) => Promise<unknown>, why: RegExp][] = [
    [
      'a key of another certificate',
      ({ files }) => replace(files.key, next.key),
      /belongs to another certificate/,
    ],
    [
      'a cut certificate',
      ({ files }) => replace(files.certificate, next.cert.slice(0, 300)),
      /no PEM certificate/,
    ],
    ['no file', ({ files }) => rm(files.certificate), /cannot be read \(ENOENT\)/],
  ];
  for (const [what, breakIt, why] of broken) {
    test(`${what} leaves the old one in use, and is reported once; a good one ends it`, async () => {
      const folder = await writeTls(own);
      using watched = await watch(folder);
      await breakIt(folder);
      const { message } = await watched.log.waitFor({ event: 'certificate', level: 'warn' });
      assert.match(String(message), why);
      assert.match(String(message), /The certificate before it stays in use$/);
      assert.deepEqual(watched.subjects, ['CN=own']);
      await replace(folder.files.key, next.key);
      await replace(folder.files.certificate, next.cert);
      await watched.until(2);
      assert.equal(watched.log.events.filter(({ level }) => level === 'warn').length, 1);
    });
  }

  test('a certificate that expires is reported ahead, once a day, and again when it has expired', async () => {
    const folder = await writeTls(own);
    const { validFrom, validTo } = await load(folder);
    // It lives for two days, so a fifth of that is early enough.
    let now = validTo.getTime() - 0.41 * DAY_MS;
    using watched = await watch(folder, () => now);
    await replace(folder.files.key, next.key);
    await replace(folder.files.certificate, next.cert);
    await watched.until(2);
    assert.deepEqual(
      watched.log.events.filter(({ level }) => level === 'warn'),
      [],
    );
    now = validTo.getTime() - 0.39 * DAY_MS;
    const { message } = await watched.log.waitFor({ event: 'certificate', level: 'warn' });
    const renewed = await load(folder);
    const dates = `it is valid from ${renewed.validFrom.toISOString()} to ${renewed.validTo.toISOString()}, and the clock here says `;
    const clock = new Date(now).toISOString();
    assert.equal(message, `The certificate in TLS_CERT_FILE expires soon: ${dates}${clock}`);
    now = validTo.getTime() + 2 * DAY_MS;
    const second = await watched.log.waitFor({ event: 'certificate', level: 'warn' }, 2);
    assert.match(String(second['message']), / has expired: it is valid from /);
    assert.ok(validFrom.getTime() < now);
  });

  test('a certificate of tomorrow is reported, with the clock here', async () => {
    const folder = await writeTls(own);
    const { validFrom } = await load(folder);
    using watched = await watch(folder, () => validFrom.getTime() - DAY_MS);
    const { message } = await watched.log.waitFor({ event: 'certificate', level: 'warn' });
    assert.match(String(message), / is not valid yet: it is valid from .*Z to .*Z, and the clock here says /);
  });
});
