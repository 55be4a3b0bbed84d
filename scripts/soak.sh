#!/usr/bin/env bash
# Runs the tests that take long: those in tests/ folders marked #[ignore] with "soak" in their name.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_rust
need_compiler
need_whisper
install_needs

# Only the binaries that have such tests: optimised builds of the others are most of an hour on a small
# machine.
what=()
while read -r file; do
    folder=${file%%/tests/*}
    [[ $folder == "$file" ]] && folder=.
    target=${file#*tests/}
    target=${target%%/*}
    name=$(sed -n '/^\[package\]/,/^\[/s/^name = "\(.*\)"$/\1/p' "$folder/Cargo.toml")
    what+=(--package "$name" --test "${target%.rs}")
done < <(grep -rl 'fn soak' --include='*.rs' tests */tests)
[[ ${#what[@]} -gt 0 ]] || stop "There are no tests with \"soak\" in their name."

# Link-time optimisation of every test binary would take longer than it saves.
export CARGO_PROFILE_RELEASE_LTO=off
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --release --locked "${what[@]}" --run-ignored only --no-capture \
        -E 'test(soak)' "$@"
else
    cargo test --release --locked "${what[@]}" soak -- --ignored --nocapture "$@"
fi
