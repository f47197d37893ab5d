#!/usr/bin/env bash
# Makes the images that docker-compose.yml names, where no registry of images is reached: `images.sh CACHE PARTS`, with an
# engine around it (engine.sh). Those of others are stand-ins under the official names, made of the real software; ours is
# built with the Dockerfile as it is shipped.
#
# A stand-in has the hash of what it is made of as its label, and is made again when that changes.
set -euo pipefail
cache=$1 parts=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rust=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")

named() { sed -n "s#^    image: \($1:[^ ]*\)\$#\1#p" "$root/docker-compose.yml"; }

# is_made IMAGE HASH: whether it is there, of this very recipe.
is_made() { [ "$(docker image inspect --format '{{index .Config.Labels "recipe"}}' "$1" 2> /dev/null)" = "$2" ]; }

hash_of() { cat "$@" | sha256sum | cut -c 1-16; }

# build IMAGE NAME EXTRA TAR-ARGUMENTS…: of stand-ins/NAME and whatever else tar is told, unless it is made.
build() {
  local image=$1 name=$2 extra=$3 recipe
  shift 3
  recipe=$(cat "$here/stand-ins/$name"/* <(echo "$base $extra") | sha256sum | cut -c 1-16)
  is_made "$image" "$recipe" && return
  echo "building $image (stand-in)"
  tar -cf - -C "$here/stand-ins/$name" . "$@" |
    docker build --quiet --network host --label "recipe=$recipe" --tag "$image" - > "$cache/build.log" 2>&1 ||
    { cat "$cache/build.log" >&2; exit 1; }
}

debian=debian:bookworm-slim
base="bookworm minbase 1"
if ! is_made $debian "$base"; then
  echo "building $debian (debootstrap)"
  rm -rf "$cache/debian"
  debootstrap --variant=minbase bookworm "$cache/debian" > "$cache/debootstrap.log" 2>&1 ||
    { tail -20 "$cache/debootstrap.log" >&2; exit 1; }
  tar -C "$cache/debian" --exclude=./var/cache/apt/archives --exclude=./usr/share/doc/*/changelog* -cf - . |
    docker import --change "LABEL recipe=\"$base\"" - $debian > /dev/null
  rm -rf "$cache/debian"
fi

kafka=$parts/kafka-4.3.0/lib
build "$(named apache/kafka)" kafka "$(ls "$kafka")" -C "${kafka%/*}" lib

clickhouse=$(echo "$parts"/clickhouse-*)
cc -O1 -o "$cache/clickhouse-server" "$here/stand-ins/clickhouse/clickhouse-server.c"
build "$(named clickhouse/clickhouse-server)" clickhouse "$clickhouse" -C "$clickhouse" libchdb.so -C "$cache" clickhouse-server

build "$(named prom/prometheus)" prometheus ""

# Without the machine's own settings of cargo, which reaches a registry, there are the crates themselves.
lock=$(hash_of "$root/Cargo.lock")
if [ "$(cat "$cache/vendor.lock" 2> /dev/null)" != "$lock" ]; then
  rm -rf "$cache/vendor"
  (cd "$root" && cargo vendor --quiet --locked --versioned-dirs "$cache/vendor" > /dev/null)
  echo "$lock" > "$cache/vendor.lock"
fi
sysroot=$(cd "$root" && rustc --print sysroot)
toolchain=$(cd "$sysroot" && ls -d bin/cargo bin/rustc lib/*.so* lib/rustlib/*-linux-gnu)
build "rust:$rust-slim-bookworm" rust "$toolchain $lock" -C "$cache" vendor -C "$sysroot" $toolchain

echo "building plaudit (deploy/Dockerfile)"
began=$SECONDS
ours() {
  docker build --network host --build-arg PROFILE=quick --build-arg REVISION=tested --file "$root/deploy/Dockerfile" "$@" "$root" \
    > "$cache/build.log" 2>&1 || { tail -40 "$cache/build.log" >&2; exit 1; }
}
# With names, so that they stay when what has none is thrown away: what has not changed is not built again.
ours --target dependencies --tag plaudit-dependencies
ours --target build --tag plaudit-build
ours --tag "$(sed -n 's/^PLAUDIT_IMAGE=//p' "$root/.env.example")"
docker image prune --force > /dev/null
echo "built plaudit in $((SECONDS - began)) s"
