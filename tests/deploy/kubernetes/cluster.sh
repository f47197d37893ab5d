#!/usr/bin/env bash
# Runs a command with a real one-node Kubernetes: `cluster.sh CACHE COMMAND…`. etcd, API server,
# controllers, scheduler, containerd, kubelet, kube-proxy and CoreDNS are all started here.
#
# It belongs inside `engine.sh closed`: the network, mounts and processes are that one's own, so
# addresses are fixed, and the kernel ends everything when the command has ended. The programs are
# those of tools.sh. It has no volume provisioner, no metrics server, and no network that enforces
# policies. The command finds KUBECONFIG, kubectl and helm; `cluster.sh load IMAGE…` brings images
# of the Docker engine to the node, `cluster.sh kill CONTAINER` is how a program dies there.
set -euo pipefail
cache=${PLAUDIT_CLUSTER:-$1}
bin=$cache/bin
run=$cache/cluster
export KUBECONFIG=$run/kubeconfig

bridge=pods
node=10.244.0.1
pods=10.244.0.0/24
services=10.96.0.0/24
api=16443
pod_group=plaudit-node
etcd=http://127.0.0.1:12379
peer=http://127.0.0.1:12380

up() {
  # What an earlier run left: no process has it any more.
  rm -rf "$run"
  mkdir -p "$run"/{logs,pki,cni}
  cd "$run"
  keys
  # The bridge of the pods is made here: its address is the node's, the API's and the DNS's.
  ip link add $bridge type bridge
  ip addr add $node/24 dev $bridge
  ip link set $bridge up
  ip route add default via $node
  sysctl -q net.ipv4.ip_forward=1
  control_plane
  container_runtime
  node_agents
  dns
}

keys() {
  openssl genrsa -out pki/sa.key 2048 2> /dev/null
  openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2> /dev/null
  local token; token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" > pki/tokens.csv
  cat > kubeconfig <<K
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
K
  chmod 600 kubeconfig pki/tokens.csv
}

control_plane() {
  start etcd "$bin/etcd" --data-dir "$run/etcd" --listen-client-urls $etcd --advertise-client-urls $etcd \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer --unsafe-no-fsync
  start apiserver "$bin/kube-apiserver" --etcd-servers=$etcd --bind-address=0.0.0.0 --secure-port=$api \
    --advertise-address=$node --cert-dir="$run/pki" --service-cluster-ip-range=$services \
    --service-account-key-file="$run/pki/sa.pub" --service-account-signing-key-file="$run/pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc --token-auth-file="$run/pki/tokens.csv" \
    --authorization-mode=Node,RBAC --allow-privileged=true --kubelet-preferred-address-types=InternalIP
  await "the API server" 120 "$bin/kubectl" get --raw /readyz
  start controllers "$bin/kube-controller-manager" --kubeconfig="$KUBECONFIG" --leader-elect=false \
    --cert-dir="$run/pki/controllers" --service-account-private-key-file="$run/pki/sa.key" \
    --root-ca-file="$run/pki/apiserver.crt"
  start scheduler "$bin/kube-scheduler" --kubeconfig="$KUBECONFIG" --leader-elect=false --cert-dir="$run/pki/scheduler"
}

container_runtime() {
  # Within a container or a small VM oom_score_adj cannot be lowered, hence the restriction.
  cat > containerd.toml <<C
version = 2
root = "$run/containerd"
state = "$run/containerd-state"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cache/packages/containernetworking-plugins/usr/lib/cni"
    conf_dir = "$run/cni"
C
  cat > cni/10-bridge.conflist <<C
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "dataDir": "$run/ipam", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
  start containerd containerd -c "$run/containerd.toml"
  await containerd 30 ctr version
  pause
}

# The process that holds a pod's network: it does nothing, and ends when told.
pause() {
  mkdir -p pause
  cat > pause/main.go <<'G'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
G
  CGO_ENABLED=0 go build -ldflags '-s -w' -o pause/pause pause/main.go
  tar -C pause -cf - pause | docker import -c 'ENTRYPOINT ["/pause"]' - localhost/pause:1 > /dev/null
  load localhost/pause:1
}

node_agents() {
  local group
  for group in $(groups); do mkdir -p "$group"; done
  # To the kernel a group counts as one process, and this one is a whole machine.
  for group in /sys/fs/cgroup/cpu/$pod_group/cpu.shares /sys/fs/cgroup/$pod_group/cpu.weight; do
    [ ! -e "$group" ] || echo 10000 > "$group"
  done
  cat > kubelet.yaml <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$pod_group
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://$run/containerd.sock
clusterDomain: cluster.local
clusterDNS: [$node]
# The images are nowhere else: a full disk is no reason to throw one away.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
C
  start kubelet "$bin/kubelet" --kubeconfig="$KUBECONFIG" --config="$run/kubelet.yaml" --root-dir="$run/kubelet" \
    --cert-dir="$run/pki/kubelet" --hostname-override=node1 --node-ip=$node
  kubelet=$!
  start proxy "$bin/kube-proxy" --kubeconfig="$KUBECONFIG" --cluster-cidr=10.244.0.0/16 --hostname-override=node1 \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
  await "the node" 60 sh -c "'$bin/kubectl' get node node1 | grep -w Ready"
  # The Docker engine drops what it does not forward itself.
  iptables -I FORWARD -s $pods -j ACCEPT
  iptables -I FORWARD -d $pods -j ACCEPT
}

# The group of all pods, in each hierarchy that there is.
groups() {
  local processes
  for processes in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    [ ! -e "$processes" ] || [ -e "${processes%/*}/cgroup.type" ] || echo "${processes%/*}/$pod_group"
  done
}

dns() {
  cat > Corefile <<C
cluster.local:53 {
  bind $node
  kubernetes cluster.local {
    kubeconfig $KUBECONFIG test
  }
}
.:53 {
  bind $node
  template ANY ANY {
    rcode NXDOMAIN
  }
}
C
  start coredns "$bin/coredns" -conf "$run/Corefile"
}

# The kernel keeps the groups of processes that are gone.
down() {
  kill "$kubelet"
  local task group
  for task in $(ctr task ls -q); do ctr task kill --signal SIGKILL "$task" || true; done
  for _ in $(seq 100); do ctr task ls | grep -q RUNNING || break; sleep 0.1; done
  for group in $(groups); do find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || true; done
}

load() { docker save "$@" | ctr images import - > /dev/null; }

start() { # name, command…
  local name=$1; shift
  "$@" > "$run/logs/$name.log" 2>&1 < /dev/null &
}

await() { # what, seconds, command…
  local what=$1 seconds=$2; shift 2
  for _ in $(seq $((seconds * 5))); do "$@" > /dev/null 2>&1 && return; sleep 0.2; done
  echo "cluster: $what did not come up; see $run/logs" >&2
  exit 1
}

ctr() { command ctr -a "$run/containerd.sock" -n k8s.io "$@"; }

case $1 in
  load) shift; load "$@"; exit ;;
  kill) ctr task kill --signal SIGKILL "$2"; exit ;;
esac
shift
here=$(pwd)
up
cd "$here"
export PLAUDIT_CLUSTER=$cache PATH=$bin:$PATH
code=0
"$@" || code=$?
down
exit $code
