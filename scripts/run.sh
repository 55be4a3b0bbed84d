#!/usr/bin/env bash
# Builds Frontdesk and starts it with the defaults. Arguments go to `frontdesk serve`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_rust
need_compiler
install_needs

cargo build --release --locked --bin frontdesk
exec cargo run --quiet --release --locked --bin frontdesk -- serve "$@"
