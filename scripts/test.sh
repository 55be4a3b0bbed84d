#!/usr/bin/env bash
# Runs every test. Arguments go to the test runner, such as a part of a test's name.
#
# PEERS=optional leaves out what would need swaks, Postfix or Python where they are not installed,
# for machines with another mail server, which Postfix would replace. It also leaves out the web pages
# where Node is missing, and their tests in a browser where Chromium or flite is.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/pages.sh

need_rust
need_compiler
need_whisper
if [[ ${PEERS:-required} == required ]]; then
    need_program swaks swaks
    need_program postfix postfix
    need_venv
    need_program curl curl
    need_speech
    # The talk page is tried in a browser, with speech for its microphone.
    need_program chromium chromium
    need_program flite flite
    # What is spoken to the server and by it is turned back into words.
    need_program pocketsphinx_continuous pocketsphinx
    need_node || stop "$node_missing."
fi
need_pages || say "$node_missing. The web pages are left out."
install_needs
if pages_are_built || node_is_there; then
    build_pages
fi

# The official MCP client, from PyPI at the version that is named with its test.
mcp_client=target/mcp-client
install_mcp_client() {
    local wanted=tests/mcp/requirements.txt
    cmp --silent "$wanted" "$mcp_client/.installed-from" && return
    say "Fetching the MCP client (pip install)."
    rm -rf "$mcp_client"
    python3 -m venv "$mcp_client" &&
        "$mcp_client/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" &&
        cp "$wanted" "$mcp_client/.installed-from"
}
if [[ ${PEERS:-required} == required ]]; then
    install_mcp_client
else
    install_mcp_client || say "The MCP client is left out."
fi

# With `required`, a peer that is missing is a failure and not a reason to skip.
export FRONTDESK_PEERS=${PEERS:-required}
export PATH=$PATH:/usr/sbin:/sbin

# The web pages by themselves and the examples in the documentation first.
if [[ $# -eq 0 ]]; then
    if [[ $FRONTDESK_PEERS == required ]] || node_is_there; then
        test_pages
    fi
    cargo test --locked --workspace --doc --quiet
fi
failed=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --no-fail-fast "$@" || failed=$?
else
    cargo test --locked --workspace --lib --bins --tests --examples --no-fail-fast "$@" || failed=$?
fi
# The tests have built the program, unless it could not be built.
if [[ $# -eq 0 && -x ${CARGO_TARGET_DIR:-target}/debug/frontdesk ]]; then
    FRONTDESK_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/frontdesk")
    export FRONTDESK_BIN
    test_server || failed=$?
    if ((failed)); then
        say "Tests failed; see above."
    fi
fi
exit "$failed"
