// Builds of the image: `docker buildx bake image-local`. docs/containers.md tells what each target is for.

variable "IMAGE" {
  default = "docker-http-passthrough"
}

variable "TAG" {
  default = "latest"
}

// Several tags in place of TAG, separated by commas: `scripts/image-tags.ts` makes them of a git ref.
variable "TAGS" {
  default = ""
}

// Debian with Node.js, npm and CA certificates. A digest pins it: node:26-bookworm@sha256:…
variable "NODE_IMAGE" {
  default = "docker.io/library/node:26-bookworm"
}

// `host` where the engine has no bridge; bake then wants --allow=network.host.
variable "NETWORK" {
  default = "default"
}

variable "SOURCE_COMMIT" {
  default = "unknown"
}

variable "VERSION" {
  default = "0.1.0"
}

function "names" {
  params = []
  result = [for tag in split(",", TAGS == "" ? TAG : TAGS) : "${IMAGE}:${tag}"]
}

group "default" {
  targets = ["image-local"]
}

target "common" {
  context    = "."
  dockerfile = "Dockerfile"
  network    = NETWORK
  args = {
    NODE_IMAGE    = NODE_IMAGE
    SOURCE_COMMIT = SOURCE_COMMIT
    VERSION       = VERSION
  }
}

target "build" {
  inherits = ["common"]
  target   = "build"
  output   = ["type=cacheonly"]
}

// Runs the quick suite; there is no result but its success. It needs curl, git and openssl, which the image of Node.js has.
// Not a stage of the Dockerfile: the builder without BuildKit would run it in every build.
target "test" {
  context           = "."
  contexts          = { build = "target:build" }
  dockerfile-inline = <<EOT
FROM build
COPY . .
ARG SOURCE_COMMIT
RUN npm test
EOT
  args   = { SOURCE_COMMIT = SOURCE_COMMIT }
  output = ["type=cacheonly"]
}

// One image for this machine, loaded into its engine.
target "image-local" {
  inherits = ["common"]
  tags     = names()
  output   = ["type=docker"]
}

// All platforms, without a result: whether they can be built.
target "image-all" {
  inherits  = ["common"]
  tags      = names()
  platforms = ["linux/amd64", "linux/arm64"]
  output    = ["type=cacheonly"]
}

// All platforms in one index, with a list of what is in the image (SBOM) and how it was built (provenance).
target "image-push" {
  inherits = ["image-all"]
  attest   = ["type=sbom", "type=provenance,mode=max"]
  output   = ["type=registry"]
}
