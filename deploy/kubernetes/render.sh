#!/usr/bin/env bash
# Renders the chart's defaults into plain manifests: `make manifests`. The tests hold what is
# committed in plain/ against this.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/plain}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${HELM:-helm}" template plaudit "$here/chart" --namespace plaudit --kube-version 1.34 --output-dir "$work" > /dev/null
mkdir -p "$into"
rm -f "$into"/*.yaml
for file in "$work"/plaudit/templates/*.yaml; do
  {
    echo '# Rendered from ../chart by `make manifests`: change that, not this.'
    grep -v '^# Source: ' "$file"
  } > "$into/$(basename "$file")"
done
