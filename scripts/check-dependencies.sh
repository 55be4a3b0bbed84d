#!/usr/bin/env bash
# Checks who knows whom: one TLS library, and the layers of the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
complain() {
    echo "$*" >&2
    failed=1
}

tree() { cargo tree --locked --prefix none --format '{p}' "$@"; }

# One cryptographic library in the program: ring. A second one is megabytes of C and a long build.
if tree --workspace --all-features --edges all | grep '^aws-lc'; then
    complain "aws-lc came in; find out through what with: cargo tree --all-features -i aws-lc-sys"
fi

# knows CRATE EDGES ALLOWED...: which crates of ours it may depend on.
knows() {
    local crate=$1 edges=$2 known
    shift 2
    tree --package "$crate" --all-features --depth 1 --edges "$edges" | awk '{ print $1 }' |
        grep '^frontdesk' | sort -u | while read -r known; do
        [[ $known == "$crate" || " $* " == *" $known "* ]] || echo "$known"
    done
}

layer() {
    local strangers
    strangers=$(knows "$@")
    [[ -z $strangers ]] || complain "$1 must not depend on" $strangers
}

# Mail, voice and agents do not know each other, not even in tests; only the router knows both.
layer frontdesk-smtp normal,build,dev
layer frontdesk-agents normal,build,dev
layer frontdesk-voice normal,build,dev
layer frontdesk-router normal,build,dev frontdesk-smtp frontdesk-agents frontdesk-voice
layer frontdesk normal,build frontdesk-router

exit "$failed"
