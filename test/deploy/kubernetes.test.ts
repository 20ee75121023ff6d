/** kubernetes.yaml is valid for Kubernetes, and its parts agree with each other and with the service. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { ROOT } from '../docs/markdown.ts';
import { kubernetesFaults, type Manifest, parseManifests } from '../support/kubernetes-types.ts';

const NAME = 'docker-http-passthrough';

const text = await readFile(join(ROOT, 'kubernetes.yaml'), 'utf8');
const manifests = parseManifests(text);

function find(kind: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind);
  if (found === undefined) throw new Error(`Cannot find a ${kind}`);
  return found;
}

/** The example of a Secret, which is a comment. */
const [example] = parseManifests(
  text
    .split('\n')
    .filter((line) => /^# {1,3}\S/.test(line))
    .map((line) => line.slice(2))
    .join('\n')
    .replace(/^[\s\S]*?(?=^apiVersion: v1\nkind: Secret)/m, ''),
);

const pod = find('Deployment')['spec'].template;
const [container] = pod.spec.containers;
const environment: Readonly<Record<string, string>> = {
  ...find('ConfigMap')['data'],
  ...Object.fromEntries(
    container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
  ),
};

const GIB = 1024 ** 3;
const bytesOf = (quantity: string) => Number(/^(\d+)Gi$/.exec(quantity)?.[1]) * GIB;

describe('kubernetes.yaml', () => {
  test('has one of each kind, all in one namespace', () => {
    assert.deepEqual(
      manifests.map(({ kind }) => kind),
      [
        ...['Namespace', 'ServiceAccount', 'ConfigMap', 'Deployment', 'Service'],
        ...['PodDisruptionBudget', 'HorizontalPodAutoscaler', 'NetworkPolicy'],
      ],
    );
    for (const { metadata } of manifests) assert.equal(metadata.name, NAME);
    const places = new Set(manifests.slice(1).map(({ metadata }) => metadata.namespace));
    assert.deepEqual([...places], [NAME]);
  });

  test('and its example of a Secret fit the types and schemas of Kubernetes', async () => {
    assert.equal(example?.kind, 'Secret');
    assert.deepEqual(await kubernetesFaults([...manifests, ...(example === undefined ? [] : [example])]), []);
  });

  test('is compared with types that find unknown fields and wrong values', async () => {
    const broken = structuredClone(find('Deployment')) as Manifest;
    broken['spec'].template.spec.containers[0].imagee = 'x';
    broken['spec'].replicas = 'two';
    const faults = (await kubernetesFaults([broken])).join('\n');
    assert.match(faults, /'"imagee"' does not exist/);
    assert.match(faults, /replicas must be integer/);
  });

  test('selects its own pods everywhere', () => {
    const { labels } = pod.metadata;
    const selectors = [
      find('Deployment')['spec'].selector.matchLabels,
      find('Service')['spec'].selector,
      find('PodDisruptionBudget')['spec'].selector.matchLabels,
      find('NetworkPolicy')['spec'].podSelector.matchLabels,
      ...pod.spec.topologySpreadConstraints.map(
        (constraint: { labelSelector: { matchLabels: object } }) => constraint.labelSelector.matchLabels,
      ),
    ];
    for (const selector of selectors) assert.deepEqual(selector, labels);
  });

  test('names ports that the container has', () => {
    const ports = new Set(container.ports.map(({ name }: { name: string }) => name));
    const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'].map(
      (name) => container[name].httpGet.port,
    );
    const used = [
      ...probes,
      ...find('Service')['spec'].ports.map(({ targetPort }: { targetPort: string }) => targetPort),
      ...find('NetworkPolicy')['spec'].ingress.flatMap(({ ports }: { ports: { port: string }[] }) =>
        ports.map(({ port }) => port),
      ),
    ];
    assert.deepEqual([...new Set(used)], [...ports]);
  });

  test('sets variables that the service takes', () => {
    assert.equal(environment['RUST_LOG'], 'info');
    const config = loadConfig({ ...environment, ...example?.['stringData'] });
    assert.equal(config.http.port, container.ports[0].containerPort);
    assert.equal(config.cache.directory, container.volumeMounts[0].mountPath);
  });

  test('leaves time for running downloads', () => {
    const drain = Number(environment['SHUTDOWN_TIMEOUT']) + container.lifecycle.preStop.sleep.seconds + 5;
    assert.ok(pod.spec.terminationGracePeriodSeconds >= drain, `${drain} s`);
  });

  test('leaves space on the volume for files in use', () => {
    const { maxBytes } = loadConfig(environment).cache;
    const limit = bytesOf(pod.spec.volumes[0].emptyDir.sizeLimit);
    assert.ok(Number(maxBytes) < limit && limit > 0, `${maxBytes} of ${limit}`);
  });

  test('follows the restricted standard of Pod Security', () => {
    assert.equal(find('Namespace').metadata.labels?.['pod-security.kubernetes.io/enforce'], 'restricted');
    // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    const { runAsNonRoot, seccompProfile, runAsUser } = pod.spec.securityContext;
    assert.deepEqual([runAsNonRoot, seccompProfile.type, runAsUser], [true, 'RuntimeDefault', 65532]);
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    for (const volume of pod.spec.volumes) assert.deepEqual(Object.keys(volume), ['name', 'emptyDir']);
    assert.deepEqual([pod.spec.hostNetwork, pod.spec.automountServiceAccountToken], [undefined, false]);
  });
});
