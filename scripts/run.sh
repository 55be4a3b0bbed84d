#!/usr/bin/env bash
# Builds Frontdesk and starts it with the defaults. Arguments go to `frontdesk serve`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/pages.sh

need_rust
need_compiler
need_whisper
need_pages || say "$node_missing. Until then the talk page is missing or out of date."
want_speech
install_needs

if pages_are_built || node_is_there; then
    build_pages
fi
cargo build --release --locked --bin frontdesk
exec cargo run --quiet --release --locked --bin frontdesk -- serve "$@"
