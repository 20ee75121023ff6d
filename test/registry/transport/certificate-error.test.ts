import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DetailedPeerCertificate } from 'node:tls';
import { certificateFault } from '../../../src/registry/transport/certificate-error.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { makeOtherCertificates } from '../../support/tls.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport } from '../support/transport.ts';

const NOW = new Date('2026-06-01T12:00:00Z');

/** A certificate as Node gives it. */
function certificate(fields: {
  readonly subject: object;
  readonly issuer?: object;
  readonly altNames?: string;
  readonly from?: string;
  readonly to?: string;
  readonly issuerCert?: DetailedPeerCertificate;
}): DetailedPeerCertificate {
  const made = {
    subject: fields.subject,
    issuer: fields.issuer ?? fields.subject,
    subjectaltname: fields.altNames,
    valid_from: fields.from ?? 'Jan  1 00:00:00 2026 GMT',
    valid_to: fields.to ?? 'Jan  1 00:00:00 2027 GMT',
  } as DetailedPeerCertificate;
  made.issuerCertificate = fields.issuerCert ?? made;
  return made;
}

const ROOT = certificate({ subject: { C: 'CH', O: 'Example', CN: 'Example Root' } });
const MIDDLE = certificate({ subject: { CN: 'Example CA' }, issuer: ROOT.subject, issuerCert: ROOT });
const LEAF = { subject: { CN: 'registry' }, issuer: MIDDLE.subject };

describe('a certificate that is not accepted', () => {
  const rows: readonly [
    what: string,
    code: string,
    certificate: DetailedPeerCertificate | undefined,
    reason: string,
    setting: string,
  ][] = [
    [
      'of an unknown authority',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      certificate(LEAF),
      'its certificate is not trusted: its authority "CN=Example CA" is unknown here',
      'trustedCertificates',
    ],
    [
      'with a chain names the end of it',
      'SELF_SIGNED_CERT_IN_CHAIN',
      certificate({ ...LEAF, issuerCert: MIDDLE }),
      'its certificate is not trusted: its authority "CN=Example Root, O=Example, C=CH" is unknown here',
      'trustedCertificates',
    ],
    [
      'that is self-signed',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      certificate({ subject: { CN: 'lab\nx"y' } }),
      'its certificate is not trusted: it is self-signed, by "CN=lab\\nx\\"y"',
      'trustedCertificates',
    ],
    [
      'that is not known, as through a proxy',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      undefined,
      'its certificate is not trusted: its authority is unknown here',
      'trustedCertificates',
    ],
    [
      'of another host, without the addresses in it',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({ ...LEAF, altNames: 'DNS:a.example, IP Address:10.0.0.5, DNS:*.b.example' }),
      'its certificate is for "a.example", "*.b.example", and not for this host',
      'serverCertificate',
    ],
    [
      'of many hosts',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({
        ...LEAF,
        altNames: ['1', '2', '3', '4', '5', '6', '7'].map((n) => `DNS:${n}`).join(', '),
      }),
      'its certificate is for "1", "2", "3", "4", "5" and 2 more names, and not for this host',
      'serverCertificate',
    ],
    [
      'of addresses alone',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({ ...LEAF, altNames: 'IP Address:10.0.0.5' }),
      'its certificate is for another host',
      'serverCertificate',
    ],
    [
      'with a common name alone',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({ subject: { O: 'Example', CN: 'registry.example' } }),
      'its certificate is for "registry.example", and not for this host',
      'serverCertificate',
    ],
    [
      'with an address as common name',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({ subject: { CN: '10.0.0.5' } }),
      'its certificate is for another host',
      'serverCertificate',
    ],
    [
      'without any name',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      certificate({ subject: { O: 'Example' } }),
      'its certificate is for another host',
      'serverCertificate',
    ],
    [
      'that has expired',
      'CERT_HAS_EXPIRED',
      certificate({ ...LEAF, to: 'May 31 23:59:59 2026 GMT' }),
      'its certificate cannot be used: it is valid from 2026-01-01T00:00:00Z to 2026-05-31T23:59:59Z, and the clock here says 2026-06-01T12:00:00Z',
      'serverCertificate',
    ],
    [
      'that is not valid yet',
      'CERT_NOT_YET_VALID',
      certificate({ ...LEAF, from: 'Jun  2 00:00:00 2026 GMT' }),
      'its certificate cannot be used: it is valid from 2026-06-02T00:00:00Z to 2027-01-01T00:00:00Z, and the clock here says 2026-06-01T12:00:00Z',
      'serverCertificate',
    ],
    [
      'whose authority has expired',
      'CERT_HAS_EXPIRED',
      certificate({
        ...LEAF,
        issuerCert: certificate({ subject: { CN: 'Old' }, to: 'Feb  1 00:00:00 2026 GMT' }),
      }),
      'its certificate cannot be used: that of its authority "CN=Old" is valid from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z, and the clock here says 2026-06-01T12:00:00Z',
      'serverCertificate',
    ],
    [
      'that has expired and is not known',
      'CERT_HAS_EXPIRED',
      undefined,
      'its certificate cannot be used: it has expired; the clock here says 2026-06-01T12:00:00Z',
      'serverCertificate',
    ],
    [
      'for a reason without a text here',
      'CERT_ODD',
      undefined,
      'its certificate cannot be used: odd reason',
      'serverCertificate',
    ],
  ];
  for (const [what, code, certificate, reason, setting] of rows) {
    test(what, () => {
      const text = 'odd reason; try running Node.js with --use-system-ca';
      assert.deepEqual(certificateFault(code, text, certificate, NOW), { reason, setting });
    });
  }

  test('on a real socket has both dates and the clock', async () => {
    const { ca, cert, key } = await makeOtherCertificates(-1);
    await using server = await startScriptedServer(() => undefined, { tls: { cert, key } });
    using transport = openTransport({ tls: { caCert: ca } });
    const date = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
    await assert.rejects(transport.send(requestTo(server.origin)), {
      code: 'REGISTRY_UNREACHABLE',
      message: new RegExp(
        `: its certificate cannot be used: it is valid from ${date} to ${date}, and the clock here says ${date}$`,
      ),
    });
  });
});
