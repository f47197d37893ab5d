#!/usr/bin/env bash
# Builds a whole Kubernetes, CoreDNS and Helm from the Go module proxy, where no image registry
# and no release page can be reached, and unpacks what Debian has, into CACHE: `tools.sh CACHE`. About
# five minutes of two cores the first time; then they are there, by version.
#
# Unpacked and not installed: Debian would start etcd and Prometheus as services.
set -euo pipefail
cache=$1
bin=$cache/bin
mkdir -p "$bin" "$cache/src" "$cache/debian"
exec 9> "$cache/tools.lock"
flock 9

kubernetes=1.34.2
coredns=1.13.1
helm=3.19.2
operator=0.85.0

# A module with replace directives cannot be installed: each program is built from a module of
# its own, which repeats them.
build() { # program, version, module, package, linker flags, further replace lines
  local name=$1 version=$2 module=$3 package=$4 flags=$5 replaces=${6:-}
  [ ! -e "$bin/.$name-$version" ] || return 0
  echo "building $name $version"
  begin "$name" "$version" "$module"
  if [ -n "$replaces" ]; then
    echo "$replaces" >> go.mod
  else
    grep -oE '^(replace )?\s*\S+( v\S+)? => \S+ v\S+' "$(module_file "$module" "$version")" |
      sed -E 's/^(replace )?\s*/replace /' >> go.mod || true
  fi
  finish "$name" "$version" "$package" "$flags" "$package@v$version"
}

# The DNS server with what a cluster asks of it, and without the clouds it knows.
build_coredns() {
  [ ! -e "$bin/.coredns-$coredns" ] || return 0
  echo "building coredns $coredns"
  begin coredns $coredns github.com/coredns/coredns
  cat > main.go <<'G'
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() { coremain.Run() }
G
  finish coredns $coredns . "" "github.com/coredns/coredns@v$coredns"
}

begin() { # program, version, module
  rm -rf "$cache/src/$1"
  mkdir -p "$cache/src/$1"
  cd "$cache/src/$1"
  printf 'module node\n\ngo 1.26\n\nrequire %s v%s\n' "$3" "$2" > go.mod
}

finish() { # program, version, package, linker flags, what is got
  GOFLAGS=-mod=mod go get "$5" > log 2>&1 &&
    CGO_ENABLED=0 GOFLAGS=-mod=mod go build -trimpath -ldflags "-s -w $4" -o "$bin/$1" "$3" >> log 2>&1 ||
    { tail -20 log; exit 1; }
  touch "$bin/.$1-$2"
}

module_file() { # module, version
  go mod download -json "$1@v$2" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p'
}

unpack() { # Debian package, program in it…
  local package=$1; shift
  [ ! -e "$bin/.$package" ] || return 0
  echo "unpacking Debian's $package"
  local at=$cache/debian/$package
  rm -rf "$at" && mkdir -p "$at" && cd "$at"
  apt-get download "$package" > log 2>&1 || { apt-get update > log 2>&1 && apt-get download "$package" >> log 2>&1; } ||
    { tail -5 log; exit 1; }
  dpkg -x ./*.deb .
  local program
  for program in "$@"; do ln -sf "$at/$program" "$bin/"; done
  touch "$bin/.$package"
}

for program in go docker containerd runc iptables ip openssl; do
  command -v $program > /dev/null || { echo "$program is not installed (Debian: docker.io iptables iproute2 openssl)"; exit 1; }
done
staging=
if [ ! -e "$bin/.kube-proxy-$kubernetes" ]; then
  staging=$(sed -nE "s#^\s*(k8s\.io/\S+) => \./staging.*#replace \1 => \1 v0.${kubernetes#1.}#p" \
    "$(module_file k8s.io/kubernetes $kubernetes)")
fi
stamp=k8s.io/component-base/version
for program in kube-apiserver kubelet kube-controller-manager kube-scheduler kubectl kube-proxy; do
  build $program $kubernetes k8s.io/kubernetes k8s.io/kubernetes/cmd/$program \
    "-X $stamp.gitVersion=v$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=34" "$staging"
done
build_coredns
build helm $helm helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm "-X helm.sh/helm/v3/internal/version.version=v$helm"
unpack etcd-server usr/bin/etcd
unpack containernetworking-plugins
unpack prometheus usr/bin/prometheus usr/bin/promtool
# What the Prometheus operator asks of a PodMonitor and a PrometheusRule, its own definitions.
if [ ! -d "$cache/operator-$operator" ]; then
  module=github.com/prometheus-operator/prometheus-operator
  definitions=$(go mod download -json "$module@v$operator" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')/example/prometheus-operator-crd
  mkdir -p "$cache/operator.new"
  cp "$definitions"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$cache/operator.new/"
  mv "$cache/operator.new" "$cache/operator-$operator"
fi
ln -sfn "operator-$operator" "$cache/operator"
