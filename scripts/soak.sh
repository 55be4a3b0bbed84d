#!/usr/bin/env bash
# Runs the tests that take long: those marked #[ignore] with "soak" in their name.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_rust
need_compiler
need_whisper
install_needs

# Link-time optimisation of every test binary would take longer than it saves.
export CARGO_PROFILE_RELEASE_LTO=off
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --release --locked --workspace --run-ignored only -E 'test(soak)' "$@"
else
    cargo test --release --locked --workspace --lib --bins --tests soak -- --ignored "$@"
fi
