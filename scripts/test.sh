#!/usr/bin/env bash
# Runs every test. Arguments go to the test runner, such as a part of a test's name.
#
# PEERS=optional leaves out what would need swaks, Postfix or Python where they are not installed,
# for machines with another mail server, which Postfix would replace.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_rust
need_compiler
if [[ ${PEERS:-required} == required ]]; then
    need_program swaks swaks
    need_program postfix postfix
    need_program python3 python3
    # The speech engines of voice/, which are opened at run time.
    need_file '/usr/lib/*/libflite.so.1' libflite1
    need_file '/usr/lib/*/libpocketsphinx.so.3' libpocketsphinx3
    need_file '/usr/share/pocketsphinx/model/en-us/en-us' pocketsphinx-en-us
    need_program espeak-ng espeak-ng
fi
install_needs

# With `required`, a peer that is missing is a failure and not a reason to skip.
export FRONTDESK_PEERS=${PEERS:-required}
export PATH=$PATH:/usr/sbin:/sbin

# Examples in the documentation first: the summary of the tests is to be the last thing printed.
if [[ $# -eq 0 ]]; then
    cargo test --locked --workspace --doc --quiet
fi
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --no-fail-fast "$@"
else
    cargo test --locked --workspace --lib --bins --tests --examples --no-fail-fast "$@"
fi
