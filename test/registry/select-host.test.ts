import assert from 'node:assert/strict';
import test from 'node:test';
import { parseHostPattern } from '../../src/registry/host-pattern.ts';
import { DOCKER_HUB } from '../../src/registry/registry-host.ts';
import { registryHostOfName } from '../../src/registry/select-host.ts';

const origin = (host: string, ...plain: readonly string[]): string =>
  registryHostOfName(host, plain.map(parseHostPattern)).origin;

test("Docker Hub's names are Docker Hub, whatever is listed", () => {
  for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.IO', 'docker.io:443']) {
    assert.deepEqual(registryHostOfName(host, []), DOCKER_HUB, host);
  }
  assert.deepEqual(
    registryHostOfName('docker.io', ['docker.io', '*.docker.io'].map(parseHostPattern)),
    DOCKER_HUB,
  );
});

test('a host is reached over https', () => {
  for (const host of [
    'ghcr.io',
    'registry.local:5000',
    '10.0.0.5:5000',
    '192.168.0.1',
    '[2001:db8::1]:5000',
  ]) {
    assert.equal(origin(host), `https://${host}`);
  }
  assert.deepEqual(registryHostOfName('GHCR.io:443', []), {
    name: 'ghcr.io',
    origin: 'https://ghcr.io',
    tokenEndpoint: 'discover',
    service: 'ghcr.io',
    defaultNamespace: '',
  });
});

test('this machine is reached over http', () => {
  for (const host of [
    'localhost',
    'localhost:5000',
    'registry.localhost:5000',
    '127.0.0.1:5000',
    '127.255.255.254',
    '[::1]:5000',
    '[::1]',
  ]) {
    assert.equal(origin(host), `http://${host}`);
  }
  assert.equal(origin('LOCALHOST.:5000'), 'http://localhost:5000');
  assert.equal(origin('[0:0:0:0:0:0:0:1]:5000'), 'http://[::1]:5000');
  assert.equal(origin('[::ffff:127.0.0.1]'), 'http://[::ffff:7f00:1]');
});

test('what only looks like this machine is not', () => {
  for (const host of [
    'localhost.example.com',
    'mylocalhost',
    '127.0.0.1.example.com',
    '128.0.0.1',
    '[::2]',
  ]) {
    assert.equal(origin(host), `https://${host}`);
  }
});

test('a host of the list is reached over http, and its port counts', () => {
  assert.equal(origin('lab.example.com', 'lab.example.com'), 'http://lab.example.com');
  assert.equal(origin('lab.example.com:5000', 'lab.example.com'), 'http://lab.example.com:5000');
  assert.equal(origin('lab.example.com:5000', '*.example.com'), 'http://lab.example.com:5000');
  assert.equal(origin('lab.example.com:5000', 'http://lab.example.com:5000'), 'http://lab.example.com:5000');
  assert.equal(origin('lab.example.com:5001', 'lab.example.com:5000'), 'https://lab.example.com:5001');
  assert.equal(origin('lab.example.com', 'lab.example.com:80'), 'http://lab.example.com');
  assert.equal(origin('10.0.0.5:5000', 'ghcr.io', '10.0.0.5'), 'http://10.0.0.5:5000');
});

test('what is no host is refused', () => {
  for (const host of ['', 'user@host', 'host/path', 'host:0', '::1']) {
    assert.throws(() => registryHostOfName(host, []), { code: 'INVALID_REGISTRY' }, host);
  }
});
