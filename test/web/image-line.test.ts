import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readImageLine } from '../../src/web/image-line.ts';

describe('the image of a line', () => {
  const table: readonly [line: string, image: string, platform?: string][] = [
    ['nginx:1.25', 'nginx:1.25'],
    ['  nginx  ', 'nginx'],
    ['docker pull nginx:1.25', 'nginx:1.25'],
    ['$ docker pull nginx', 'nginx'],
    ['# sudo docker pull "nginx"', 'nginx'],
    ['docker image pull -q --platform linux/arm64 ghcr.io/org/app:1', 'ghcr.io/org/app:1', 'linux/arm64'],
    ['docker pull --platform=linux/arm/v7 nginx', 'nginx', 'linux/arm/v7'],
    ['docker run --rm -p 80:80 -e A=b --name web nginx:1 nginx -g off', 'nginx:1'],
    ['podman pull docker.io/library/nginx', 'docker.io/library/nginx'],
    ['ctr -n k8s.io images pull docker.io/library/nginx:1', 'docker.io/library/nginx:1'],
    ['skopeo copy docker://quay.io/org/app:1 dir:x', 'quay.io/org/app:1'],
    ['crane manifest ubuntu', 'ubuntu'],
    ['podman pull --creds user:secret ghcr.io/org/app:1', 'ghcr.io/org/app:1'],
    ['skopeo copy --src-creds user:secret docker://ghcr.io/org/app:1 dir:x', 'ghcr.io/org/app:1'],
    ['skopeo inspect --override-arch arm64 --override-os linux docker://nginx', 'nginx', 'linux/arm64'],
    ['podman pull --arch arm --variant=v7 nginx', 'nginx', 'linux/arm/v7'],
    ['podman pull --os=windows --arch=amd64 nginx', 'nginx', 'windows/amd64'],
    ['docker pull nginx --platform linux/arm64 -q', 'nginx', 'linux/arm64'],
    ['docker run nginx --platform linux/arm64', 'nginx'],
    ['docker run --pull always --gpus all nginx', 'nginx'],
    ['Docker pull nginx', 'nginx'],
    ['docker pull \\\n  --platform linux/arm64 \\\n  nginx', 'nginx', 'linux/arm64'],
    // As a field of one line has it.
    ['docker pull \\nginx:1.25', 'nginx:1.25'],
    ['docker run \\  --rm \\  nginx', 'nginx'],
    ['docker run -v C:\\data:/data nginx', 'nginx'],
    ['docker://nginx', 'nginx'],
    ['FROM node:26 AS build', 'node:26'],
    ['FROM --platform=linux/amd64 node', 'node', 'linux/amd64'],
    ['image: ghcr.io/org/app:1', 'ghcr.io/org/app:1'],
    ["image: 'redis:7'", 'redis:7'],
    ['https://hub.docker.com/_/nginx', 'nginx'],
    ['https://hub.docker.com/r/org/app/tags', 'org/app'],
    ['https://hub.docker.com/_/nginx?tab=tags', 'nginx'],
    ['https://ghcr.io/org/app', 'ghcr.io/org/app'],
    // What is no line with an image stays as it is, so that its fault is told.
    ['docker', 'docker'],
    ['docker pull', 'docker pull'],
    ['two words', 'two words'],
    ['', ''],
  ];
  for (const [line, image, platform] of table) {
    test(line || 'an empty one', () => assert.deepEqual(readImageLine(line), { image, platform }));
  }
});
