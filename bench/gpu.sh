#!/usr/bin/env bash
# What this project does on this machine's GPU, in 8 minutes and without a network: vtc doctor, the golden tests and the
# benchmarks of bench --gpu, on tensorflow (CUDA) or else webgpu, into one JSON file; bench/gpu.ts says how and what.
#
#     bench/gpu.sh [--out FILE] [--seconds 480] [SECTION...]     sections, for --only of the bench, and then no
#                                                          tests; without one the tests and all sections
#
# Bring beside the checkout what a network would bring: Node in PATH (or named by NODE), node_modules, and for tensorflow the
# folder of `npm run setup:tensorflow -- --cuda`, named by VTC_CLS_CACHE. Exit 1 when no backend starts on a GPU, or when
# something failed; the file says what.
set -uo pipefail
cd "$(dirname "$0")/.."
node=${NODE:-node}
for need in "$node --version" 'test -d node_modules/tsx' 'test -d weights/llava'; do
  $need >/dev/null || { echo "bench/gpu.sh: needs what \`$need\` asks for" >&2; exit 1; }
done
exec "$node" --import tsx bench/gpu.ts "$@"
