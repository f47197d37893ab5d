#!/usr/bin/env bash
# The real tools that deployment is tested with, into CACHE: Debian's Docker engine, and docker compose out of the Go
# module proxy. Minutes the first time, nothing when they are there.
set -euo pipefail
cache=$1
packages=(docker.io debootstrap iptables iproute2)
compose=v2.40.3

command -v go > /dev/null || { echo "go is not installed: it builds docker compose and Kubernetes" >&2; exit 1; }

missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat '${Status}' "$package" 2> /dev/null | grep -q 'install ok' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  # They must not start a service: the engine that is tested with is our own.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

plugin=$cache/docker-config/cli-plugins/docker-compose
if [ "$("$plugin" version --short 2> /dev/null)" != "$compose" ] && ! "$plugin" version 2> /dev/null | grep -q "$compose"; then
  echo "building docker compose $compose"
  mkdir -p "$cache/compose" "$(dirname "$plugin")"
  cd "$cache/compose"
  # `go install` refuses a module with replace directives, so a small module repeats them.
  module=github.com/docker/compose/v2
  printf 'module compose\n\ngo 1.25\n\nrequire %s %s\n' "$module" "$compose" > go.mod
  manifest=$(go mod download -json "$module@$compose" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
  grep -oE '^(replace )?\s*\S+( v\S+)? => \S+ v\S+' "$manifest" | sed -E 's/^(replace )?\s*/replace /' >> go.mod || true
  export CGO_ENABLED=0 GOFLAGS=-mod=mod
  go get "$module/cmd@$compose" > log 2>&1 &&
    go build -trimpath -ldflags "-s -w -X $module/internal.Version=$compose" -o "$plugin.new" "$module/cmd" >> log 2>&1 ||
    { tail -20 log >&2; exit 1; }
  mv "$plugin.new" "$plugin"
fi
