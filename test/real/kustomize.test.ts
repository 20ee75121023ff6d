/** The parts in deploy/kubernetes, as kustomize puts them together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { kubernetesFaults, parseManifests } from '../support/kubernetes-types.ts';
import { run } from './parts.ts';
import { pathOfSidProgram, requireSidPrograms } from './sid-programs.ts';

const FOLDER = fileURLToPath(new URL('../../deploy/kubernetes/', import.meta.url));

test('kustomize adds the ingress and the ServiceMonitor to kubernetes.yaml', async (t) => {
  if (!requireSidPrograms(t, 'kubectl')) return;
  const args = ['kustomize', '--load-restrictor', 'LoadRestrictionsNone', FOLDER];
  const manifests = parseManifests(await run(pathOfSidProgram('kubectl'), args));
  const find = (kind: string) => {
    const found = manifests.find((manifest) => manifest.kind === kind);
    if (found === undefined) throw new Error(`Cannot find a ${kind}`);
    return found;
  };
  // The types of ServiceMonitor are not Kubernetes' own.
  const own = manifests.filter(({ kind }) => kind !== 'ServiceMonitor');
  assert.equal(own.length, 9);
  assert.deepEqual(await kubernetesFaults(own), []);

  const [container] = find('Deployment')['spec'].template.spec.containers;
  const ports = container.ports.map(({ name }: { name: string }) => name);
  assert.deepEqual(ports, ['http', 'metrics']);
  const environment = Object.fromEntries(
    container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
  );
  assert.deepEqual(environment, {
    ...{ RUST_LOG: 'info', OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0' },
  });
  const served = find('Service')['spec'].ports.map(({ name }: { name: string }) => name);
  assert.deepEqual(served, ports);
  const [endpoint] = find('ServiceMonitor')['spec'].endpoints;
  assert.ok(served.includes(endpoint.port));
  assert.deepEqual(find('ServiceMonitor')['spec'].selector.matchLabels, find('Service').metadata.labels);
  const { backend } = find('Ingress')['spec'].rules[0].http.paths[0];
  assert.deepEqual(backend.service, { name: find('Service').metadata.name, port: { name: 'http' } });
  const allowed = find('NetworkPolicy')['spec'].ingress.flatMap((rule: { ports: { port: string }[] }) =>
    rule.ports.map(({ port }) => port),
  );
  assert.deepEqual(allowed, ports);
});
