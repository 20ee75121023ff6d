import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findRoute } from '../../../src/http/routes.ts';
import { testRefusals } from './refusals.ts';

const NONE = /^No route has this path: GET \/ tells which there are$/;

/** The message that names the route which is meant. */
const meant = (path: string) =>
  new RegExp(`^No route has this path: did you mean ${RegExp.escape(path)}\\?$`);

describe('what probes and browsers request is no image', () => {
  testRefusals('NOT_FOUND', [
    ...(
      '/metrics /metrics/ /healthz /readyz /livez /Metrics /healthcheck /server-status ' +
      '/favicon.ico /FAVICON.ICO /robots.txt /sitemap.xml /apple-touch-icon.png /apple-touch-icon-precomposed.png ' +
      '/browserconfig.xml /manifest.json /site.webmanifest /ads.txt /.env /.git/config /.well-known/security.txt ' +
      '/app/.env /%2eenv /wp-login.php /WP-LOGIN.PHP /xmlrpc.php /wp-admin /wp-admin/ /wp-admin/setup-config.php ' +
      '/wp-includes/wlwmanifest.xml /phpmyadmin/index.php /index.html /index.php/x /app.js /main.css /main.css.map ' +
      '/config.json /config.yml /backup.sql /backup.zip /cgi-bin/luci /actuator/health /v2/ /v2/_catalog /_ping'
    )
      .split(' ')
      .map((path) => [path, NONE] as const),
    ['/wp-login.php?action=register', NONE],
    ['/metrics?x=1', NONE],
    ['/metrics?platform=linux/arm64', NONE],
    ['/prepare/metrics', NONE],
  ]);

  test('unless it has a tag, a digest or a host', () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    for (const path of [
      '/metrics:latest',
      `/metrics@${digest}`,
      '/registry.example/metrics',
      '/localhost/healthz',
      '/org/app.js:1',
      '/ghcr.io/org/site.html',
      '/status:1',
    ]) {
      assert.equal(findRoute(path).row.pattern, '/{reference}', path);
    }
  });

  test('and the answer says how to ask for an image of this name', () => {
    assert.throws(() => findRoute('/metrics'), {
      details: { hints: ['If an image has this name, ask for it with its tag: /metrics:latest'] },
    });
  });
});

describe('a near miss of a route is no image', () => {
  testRefusals('NOT_FOUND', [
    ['/polcy/alpine', meant('/policy/alpine')],
    ['/dokcer/x_1.tar', meant('/docker/x_1.tar')],
    ['/dcoker/x_1.tgz', meant('/docker/x_1.tgz')],
    ['/docker-gizp/x_1.tar.gz', meant('/docker-gzip/x_1.tar.gz')],
    ['/oc/x_1.tar.sha256', meant('/oci/x_1.tar.sha256')],
    ['/images/x_1.tar', meant('/docker/x_1.tar')],
    ['/x_1.tar', meant('/docker/x_1.tar')],
    ['/nginx_1.25.tar', meant('/docker/nginx_1.25.tar')],
    ['/nginx_1.25.tgz.md5', meant('/docker/nginx_1.25.tgz.md5')],
    ['/registy/https/h/docker/x_1.tar', meant('/registry/https/h/docker/x_1.tar')],
    ['/registy/https/h:5000/docker/x_1.tar', meant('/registry/https/h:5000/docker/x_1.tar')],
    ['/registry-atuh/https/h/docker/x_1.tar', meant('/registry-auth/https/h/docker/x_1.tar')],
    ['/registri/https/h/nginx', meant('/registry/https/h/nginx')],
    ['/platfrom/linux/arm64/docker/x_1.tar', meant('/platform/linux/arm64/docker/x_1.tar')],
    ['/bundel.tar', meant('/bundle.tar')],
    ['/bundles.tgz?image=a:1', meant('/bundle.tgz')],
    ['/heath', meant('/health')],
    ['/helth', meant('/health')],
    ['/haelth/', meant('/health')],
    ['/raedy', meant('/ready')],
    ['/manifests/nginx', meant('/manifest/nginx')],
    ['/manifets/org/app', meant('/manifest/org/app')],
    ['/tag/nginx', meant('/tags/nginx')],
    ['/preparation/0f4e2a52', meant('/preparations/0f4e2a52')],
    ['/prepar/docker/x_1.tar', meant('/prepare/docker/x_1.tar')],
    // What may be a password is not repeated.
    ['/dokcer/me:secret@host/x_1.tar', NONE],
  ]);

  test('but not a name that an image may have', () => {
    for (const path of [
      ...['/alpine', '/nginx', '/node', '/redis', '/registry:2', '/phpmyadmin', '/wordpress', '/org/app'],
      ...[
        '/healthy',
        '/rocker/rstudio',
        '/neilpang/acme.sh',
        '/library/busybox',
        '/a/b/c',
        '/tag',
        '/bundle',
      ],
      ...[
        '/tag/nginx:1',
        '/prometheus',
        '/grafana/grafana',
        '/team/manifests',
        '/bitnami/node.js2',
        '/consul',
      ],
    ]) {
      assert.equal(findRoute(path).row.pattern, '/{reference}', path);
    }
  });
});
