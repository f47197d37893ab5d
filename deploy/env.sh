#!/bin/sh
# Makes .env of .env.example with strong keys, and deploy/etc with the first API key. Needs nothing but a shell; a file
# that is there is left alone.
set -eu
umask 077
cd "$(dirname "$0")/.."
etc=deploy/etc

if [ -e .env ] || [ -e $etc/keys.toml ]; then
  echo "env: .env or $etc/keys.toml is there already, and stays as it is" >&2
  exit 1
fi

# So many bytes, as letters that neither a URL nor a shell minds.
random() { head -c "$1" /dev/urandom | base64 | tr '+/' 'Aa' | tr -d '=\n'; }
hash() { if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

# As `plaudit keys create` does it: the file has the hash of the whole key.
id=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
key=pl_${id}_$(random 32)
user=$(id -u):$(id -g)
[ "$(id -u)" != 0 ] || user=65532:65532

mkdir -p $etc
cat > $etc/keys.toml <<K
[[keys]]
id = "$id"
project = "default"
scopes = ["write", "read"]
sha256 = "$(printf %s "$key" | hash)"
name = "made by make env"
K
[ -e $etc/metrics.toml ] || echo '# Declared metrics; see "Keys and metrics" in README.md.' > $etc/metrics.toml
[ "$(id -u)" != 0 ] || chown -R "$user" $etc

while IFS= read -r line; do
  case $line in
    PLAUDIT_USER=) echo "$line$user" ;;
    PLAUDIT_KEY=) echo "$line$key" ;;
    KAFKA_CLUSTER_ID=) echo "$line$(random 16)" ;;
    [A-Z]*=) echo "$line$(random 32)" ;;
    *) echo "$line" ;;
  esac
done < .env.example > .env
echo "made .env and $etc; the key of the project default is PLAUDIT_KEY in .env"
