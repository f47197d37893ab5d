#!/usr/bin/env bash
# Runs a command with a Docker engine of its own: `engine.sh open|closed CACHE COMMAND…`.
#
# `closed` is a network of its own with nothing but loopback: what containers publish is there, at its default port, and
# for this command alone. `open` is the machine's network, to build images with; its containers have none but that.
#
# Mounts, processes and /run are its own either way. The kernel ends them with the command, however that ends, so that
# nothing is left and an engine that the machine may have is neither seen nor touched. Images stay in CACHE.
set -euo pipefail
if [ "${PLAUDIT_INSIDE:-}" != 1 ]; then
  namespaces=(--mount --pid --fork --kill-child --mount-proc)
  [ "$1" = open ] || namespaces+=(--net)
  # Whoever started this takes it along when it ends, and it takes everything inside.
  PLAUDIT_INSIDE=1 exec setpriv --pdeathsig KILL unshare "${namespaces[@]}" -- "$0" "$@"
fi
network=$1 cache=$2
shift 2
unset PLAUDIT_INSIDE

mount -t tmpfs -o mode=755 tmpfs /run
if [ "$network" = closed ]; then
  ip link set lo up
  options=(--bip 172.30.0.1/24 --default-address-pool base=172.30.128.0/17,size=24)
else
  options=(--bridge none --iptables=false)
fi
mkdir -p "$cache/docker"
# Two would corrupt it.
exec 9> "$cache/docker.lock"
flock --nonblock 9 || { echo "waiting for another run to end" >&2; flock 9; }
dockerd --data-root "$cache/docker" --cgroup-parent /plaudit-deploy "${options[@]}" > "$cache/dockerd.log" 2>&1 9>&- &
engine=$!

export DOCKER_CONFIG=$cache/docker-config DOCKER_HOST=unix:///run/docker.sock DOCKER_BUILDKIT=0
for _ in $(seq 600); do
  docker version > /dev/null 2>&1 && break
  kill -0 $engine 2> /dev/null || break
  sleep 0.1
done
docker version > /dev/null 2>&1 || { tail -20 "$cache/dockerd.log" >&2; echo "no Docker engine" >&2; exit 1; }

# What a run that was killed has left.
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes > /dev/null
docker volume prune --force > /dev/null
docker network prune --force > /dev/null

code=0
"$@" 9>&- || code=$?
kill $engine
wait $engine || true
# The kernel keeps the groups of processes that are gone.
find /sys/fs/cgroup -depth -type d -path '*/plaudit-deploy*' -exec rmdir {} + 2> /dev/null || true
exit $code
