# Sourced by the other scripts: the web pages that become part of the program, and what they need.

# Vite's own requirement; see inbox-ui/package.json.
node_wanted="20.19"

node_is_there() {
    local version
    version=$(node --version 2>/dev/null) && command -v npm >/dev/null || return 1
    [[ $(printf '%s\n' "$node_wanted" "${version#v}" | sort -V | head -n 1) == "$node_wanted" ]]
}

# Whether apt would install a Node that is new enough. Debian 12's own is not.
node_can_be_installed() {
    local candidate
    candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    [[ -n $candidate ]] || return 1
    [[ $(printf '%s\n' "$node_wanted" "$candidate" | sort -V | head -n 1) == "$node_wanted" ]]
}

node_missing="Node $node_wanted or later with npm is not installed, and this machine's packages have only \
older ones. Install it from https://nodejs.org"

# need_node: puts Node on the list. Fails where it can be neither found nor installed.
need_node() {
    node_is_there && return
    node_can_be_installed || return 1
    missing_packages+=(nodejs)
    # Some packages of Node bring npm along, Debian's does not.
    if apt-cache show npm >/dev/null 2>&1 && ! apt-cache show nodejs | grep -q '^Provides:.*\bnpm\b'; then
        missing_packages+=(npm)
    fi
}

# need_pages: the same, unless the pages are built already.
need_pages() {
    pages_are_built || need_node
}

# What the built pages depend on, as one checksum.
pages_sources() {
    find inbox-ui -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/.build/*' \
        -not -path '*/test/*' -not -path '*/e2e/*' -not -path '*/e2e-server/*' -not -name '*.md' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

built_from=inbox-ui/talk/dist/.built-from

pages_are_built() {
    [[ -e inbox-ui/talk/dist/index.html && $(cat "$built_from" 2>/dev/null) == "$(pages_sources)" ]]
}

# The packages that building the pages takes, or with `all` those of their tests too, as the lock file has
# them.
install_page_packages() {
    local installed=inbox-ui/node_modules/.installed-from there lock only=()
    lock=$(sha256sum <inbox-ui/package-lock.json)
    there=$(cat "$installed" 2>/dev/null) || true
    if [[ $there == "$lock all" || $there == "$lock ${1-}" ]]; then
        return
    fi
    [[ ${1-} == all ]] || only=(--include-workspace-root --workspace client --workspace talk)
    say "Fetching the packages of the web pages (npm ci)."
    (cd inbox-ui && npm ci "${only[@]}" --no-audit --no-fund --loglevel=error)
    echo "$lock ${1-}" >"$installed"
}

# Builds the pages if they are not built from the sources as they are.
build_pages() {
    pages_are_built && return
    install_page_packages
    say "Building the web pages."
    (cd inbox-ui && npm run --silent build)
    pages_sources >"$built_from"
}

# The pages' own tests, and calls in Chromium. Without `required` the latter only where it can be.
test_pages() {
    install_page_packages all
    say "Testing the web pages."
    (cd inbox-ui && npm run --silent check && npm run --silent test)
    if [[ $FRONTDESK_PEERS == required ]] || { command -v chromium && command -v flite; } >/dev/null; then
        # The built page as it is: building it again would build the program again.
        (cd inbox-ui && npm run --silent test:browser -w talk)
    fi
}

# The published client and the pages in Chromium, in calls with the program that was just built.
test_server() {
    if [[ $FRONTDESK_PEERS != required ]]; then
        { node_is_there && command -v chromium && command -v flite && command -v pocketsphinx_continuous; } >/dev/null || return 0
    fi
    install_page_packages all
    say "Testing the web pages with the server."
    (cd inbox-ui && npm run --silent test:server)
}
