#!/usr/bin/env bash
# Runs each fuzz target, or those that are named, for FUZZ_SECONDS each. Stops at the first crash.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_rust
need_compiler
# libFuzzer is built from source as well, and is C++.
need_program c++ g++
install_needs

cargo fuzz --version >/dev/null 2>&1 ||
    stop "cargo-fuzz is not installed. Install it: cargo install cargo-fuzz"

# The address sanitizer needs a nightly compiler; without one the same targets run without it.
fuzz=(cargo fuzz)
sanitizer=(--sanitizer none)
if [[ $(rustup toolchain list 2>/dev/null) == *nightly* ]]; then
    fuzz=(cargo +nightly fuzz)
    sanitizer=()
fi

# A workspace of its own, with the versions that the tests ran with.
if [[ Cargo.lock -nt fuzz/Cargo.lock ]]; then
    cp Cargo.lock fuzz/Cargo.lock
fi

targets=("$@")
if [[ $# -eq 0 ]]; then
    mapfile -t targets < <("${fuzz[@]}" list)
fi
[[ ${#targets[@]} -gt 0 ]] || stop "There are no fuzz targets in fuzz/."
for target in "${targets[@]}"; do
    say "Fuzzing $target for ${FUZZ_SECONDS:-60} s"
    "${fuzz[@]}" run "${sanitizer[@]}" "$target" -- -max_total_time="${FUZZ_SECONDS:-60}"
done
