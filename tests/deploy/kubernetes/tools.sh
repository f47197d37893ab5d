#!/usr/bin/env bash
# Builds a whole Kubernetes, CoreDNS and Helm from the Go module proxy, where no image registry
# and no release page can be reached, and unpacks what Debian has, into CACHE: `tools.sh CACHE`. About
# five minutes of two cores the first time; then they are there, by version.
#
# Unpacked and not installed: Debian would start etcd and Prometheus as services.
set -euo pipefail
cache=$1
bin=$cache/bin
mkdir -p "$bin" "$cache/src" "$cache/packages"
exec 9> "$cache/tools.lock"
flock 9

kubernetes=1.34.2
coredns=1.13.1
helm=3.19.2
operator=0.85.0

# A module with replace directives cannot be installed: what is built is got into a module of its
# own, which repeats them.
#
# All programs of Kubernetes at once: they share most of what they are made of.
build_kubernetes() {
  [ ! -e "$bin/.kubernetes-$kubernetes" ] || return 0
  echo "building Kubernetes $kubernetes"
  local module=k8s.io/kubernetes stamp=k8s.io/component-base/version program packages=()
  begin kubernetes $kubernetes $module
  sed -nE "s#^\s*(k8s\.io/\S+) => \./staging.*#replace \1 => \1 v0.${kubernetes#1.}#p" \
    "$(module_file $module $kubernetes)" >> go.mod
  for program in kube-apiserver kubelet kube-controller-manager kube-scheduler kubectl kube-proxy; do
    packages+=("$module/cmd/$program")
  done
  finish kubernetes $kubernetes $module \
    "-X $stamp.gitVersion=v$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=34" "${packages[@]}"
}

build_helm() {
  [ ! -e "$bin/.helm-$helm" ] || return 0
  echo "building helm $helm"
  local module=helm.sh/helm/v3
  begin helm $helm $module
  grep -oE '^(replace )?\s*\S+( v\S+)? => \S+ v\S+' "$(module_file $module $helm)" | sed -E 's/^(replace )?\s*/replace /' >> go.mod || true
  finish helm $helm $module "-X $module/internal/version.version=v$helm" $module/cmd/helm
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
  # Of its own code, and so of this name.
  sed -i 's/^module node$/module coredns/' go.mod
  finish coredns $coredns github.com/coredns/coredns "" .
}

begin() { # what, version, module
  rm -rf "$cache/src/$1"
  mkdir -p "$cache/src/$1"
  cd "$cache/src/$1"
  printf 'module node\n\ngo 1.26\n\nrequire %s v%s\n' "$3" "$2" > go.mod
}

finish() { # what, version, module, linker flags, package…
  local what=$1 version=$2 module=$3 flags=$4
  shift 4
  local got=("${@/#./$module}")
  export CGO_ENABLED=0 GOFLAGS=-mod=mod
  go get "${got[@]/%/@v$version}" > log 2>&1 &&
    go build -trimpath -ldflags "-s -w $flags" -o "$bin/" "$@" >> log 2>&1 || { tail -20 log; exit 1; }
  touch "$bin/.$what-$version"
}

module_file() { # module, version
  go mod download -json "$1@v$2" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p'
}

unpack() { # Debian package, program in it…
  local package=$1; shift
  [ ! -e "$bin/.$package" ] || return 0
  echo "unpacking Debian's $package"
  local at=$cache/packages/$package
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
build_kubernetes
build_coredns
build_helm
unpack etcd-server usr/bin/etcd
unpack containernetworking-plugins
unpack prometheus usr/bin/prometheus usr/bin/promtool
# What the Prometheus operator asks of its objects, by its own definitions.
if [ ! -f "$cache/operator-$operator/monitoring.coreos.com_servicemonitors.yaml" ]; then
  module=github.com/prometheus-operator/prometheus-operator
  definitions=$(go mod download -json "$module@v$operator" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')/example/prometheus-operator-crd
  rm -rf "$cache/operator.new" "$cache/operator-$operator"
  mkdir -p "$cache/operator.new"
  cp "$definitions"/monitoring.coreos.com_{podmonitors,prometheusrules,servicemonitors}.yaml "$cache/operator.new/"
  mv "$cache/operator.new" "$cache/operator-$operator"
fi
ln -sfn "operator-$operator" "$cache/operator"
