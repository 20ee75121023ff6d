# The image of the service: Node.js, the built program, and the libraries and certificates that they need. Nothing else is in
# it: no shell, no npm, no package manager. docs/containers.md tells how to build and run it.
#
# No `# syntax=` line, no `RUN --mount` and no `COPY --link`: Docker 20.10 and the builder without BuildKit build it, too, and
# without asking a registry for a frontend.

# Debian with Node.js, npm and CA certificates.
ARG NODE_IMAGE=docker.io/library/node:26-bookworm

FROM ${NODE_IMAGE} AS build
WORKDIR /build
# Before the sources, so that a change of the sources does not fetch all packages again.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json LICENSE ./
COPY scripts scripts
COPY src src
# Part of --version and of the labels; .git is not in the context.
ARG SOURCE_COMMIT=unknown
RUN npm run build
# Seconds since 1970: the time of all files, so that two builds of one commit give the same layers.
ARG SOURCE_DATE_EPOCH=0
RUN sh scripts/image-files.sh /image

FROM scratch
COPY --from=build /image /

# A number, so that Kubernetes can check runAsNonRoot.
USER 65532:65532
WORKDIR /
ENV PATH=/usr/bin NODE_ENV=production
EXPOSE 8080
# Running downloads finish first: docs/operations.md.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["docker-http-passthrough", "health"]
ENTRYPOINT ["docker-http-passthrough"]
CMD ["serve"]

ARG SOURCE_COMMIT=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="docker-http-passthrough" \
      org.opencontainers.image.description="Container images as tar archives over plain HTTP" \
      org.opencontainers.image.source="https://github.com/cisco-open/docker-http-passthrough" \
      org.opencontainers.image.documentation="https://github.com/cisco-open/docker-http-passthrough#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${SOURCE_COMMIT}"
