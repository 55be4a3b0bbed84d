# Sourced by the other scripts: what they need from the machine, said before it is installed.
#
# A script calls need_… for what it cannot do without and want_… for what it can, then install_needs,
# which
# - says what is missing, by name, and does nothing if nothing is;
# - asks once on a terminal, unless YES=1; without a terminal it goes ahead;
# - installs as root; otherwise it prints the command to run, and stops if something is needed. It never
#   calls sudo.

missing_packages=()
wanted_packages=()
wanted_for=""
missing_toolchain=""
# What somebody said no to.
declined=target/.declined-packages

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "$@"
    exit 1
}

# Rust itself is the one thing that is not installed from here.
need_rust() {
    # Where rustup puts it, for shells that have not read its profile yet.
    [[ -d $HOME/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null ||
        stop "Rust is not installed. Install rustup from https://rustup.rs, then run this again."
    command -v rustup >/dev/null || return 0
    local wanted
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    [[ $(rustup toolchain list) == *"$wanted"* ]] || missing_toolchain=$wanted
}

# A C compiler with its library: SQLite, ring and zstd are built from source.
need_compiler() {
    if ! echo 'int main(void) { return 0; }' | cc -x c - -o /dev/null 2>/dev/null; then
        missing_packages+=(gcc libc6-dev)
    fi
}

# Whisper, the speech recogniser, is C++ and built from source with cmake.
need_whisper() {
    need_program cmake cmake
    if ! echo 'int main() { return 0; }' | c++ -x c++ - -o /dev/null 2>/dev/null; then
        missing_packages+=(g++)
    fi
}

# The speech libraries that calls use. They are opened at run time, so nothing is built with them, and
# `frontdesk check` says what is missing.
speech_packages() {
    compgen -G '/usr/lib/*/libflite.so.1' >/dev/null || echo libflite1
    compgen -G '/usr/lib/*/libpocketsphinx.so.3' >/dev/null || echo libpocketsphinx3
    [[ -e /usr/share/pocketsphinx/model/en-us/en-us ]] || echo pocketsphinx-en-us
    command -v espeak-ng >/dev/null || echo espeak-ng
}

need_speech() {
    local packages
    mapfile -t packages < <(speech_packages)
    missing_packages+=("${packages[@]}")
}

# As need_speech, but mail works without. Nothing where there is no apt.
want_speech() {
    command -v apt-get >/dev/null || return 0
    mapfile -t wanted_packages < <(speech_packages)
    wanted_for="calls (mail works without)"
}

# Python with environments of its own (venv), which Debian packages apart.
need_venv() {
    need_program python3 python3
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        missing_packages+=(python3-venv)
    fi
}

# need_program COMMAND PACKAGE
need_program() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || missing_packages+=("$2")
}

install_needs() {
    local needed=$((${#missing_packages[@]} + ${#missing_toolchain}))
    # Who once said no to what can be done without is not asked for it again.
    if [[ $needed -eq 0 && $(cat "$declined" 2>/dev/null) == "${wanted_packages[*]}" ]]; then
        wanted_packages=()
    fi
    [[ $needed -eq 0 && ${#wanted_packages[@]} -eq 0 ]] && return
    say "Not on this machine yet:"
    [[ -n $missing_toolchain ]] && say "  Rust $missing_toolchain, which rustup will fetch for this user"
    [[ ${#missing_packages[@]} -gt 0 ]] && say "  Debian packages: ${missing_packages[*]}"
    [[ ${#wanted_packages[@]} -gt 0 ]] && say "  Debian packages for $wanted_for: ${wanted_packages[*]}"
    if [[ ${#missing_packages[@]} -gt 0 ]]; then
        check_packages_can_be_installed
    elif [[ ${#wanted_packages[@]} -gt 0 && $(id -u) -ne 0 ]]; then
        say "To install those: sudo apt-get install --no-install-recommends ${wanted_packages[*]}"
        wanted_packages=()
        [[ $needed -eq 0 ]] && return
    fi
    if [[ ${YES:-} != 1 && -t 0 && -t 2 ]]; then
        local answer
        read -r -p "Install now? [y/N] " answer
        if [[ $answer != [yY]* ]]; then
            [[ $needed -eq 0 ]] || stop "Nothing was installed."
            say "Nothing was installed."
            mkdir -p "${declined%/*}" && echo "${wanted_packages[*]}" >"$declined"
            return
        fi
    fi
    [[ ${#missing_packages[@]} -gt 0 ]] && install_packages "${missing_packages[@]}"
    if [[ ${#wanted_packages[@]} -gt 0 ]]; then
        # In a process of its own: stopping there is going on without them here.
        (install_packages "${wanted_packages[@]}") || say "Going on without."
    fi
    if [[ -n $missing_toolchain ]]; then
        rustup toolchain install "$missing_toolchain" --profile minimal -c clippy -c rustfmt
    fi
    missing_packages=()
    wanted_packages=()
    missing_toolchain=""
}

check_packages_can_be_installed() {
    command -v apt-get >/dev/null ||
        stop "This is not Debian. Install what these packages hold with your own tools."
    [[ $(id -u) -eq 0 ]] || stop "Run this, and then the same again:" \
        "sudo apt-get install --no-install-recommends ${missing_packages[*]} ${wanted_packages[*]}"
}

# install_packages PACKAGE...
install_packages() {
    say "Running apt-get update and apt-get install."
    # Without fresh lists the packages may still be found.
    apt-get update -qq </dev/null || say "apt-get update failed; trying with the lists there are."
    local install=(apt-get install -qq --no-install-recommends "$@")
    # Postfix takes the place of another mail server. That must be the owner's decision.
    local removed
    removed=$("${install[@]}" --simulate </dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p')
    [[ -z $removed ]] || stop "That would remove ${removed//$'\n'/ }, so nothing was installed."

    local started_nothing=""
    if [[ " $* " == *" postfix "* ]]; then
        echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
        forbid_starting_services
        started_nothing=1
    fi
    local ok=0
    DEBIAN_FRONTEND=noninteractive "${install[@]}" --yes </dev/null >&2 || ok=$?
    if [[ -n $started_nothing ]]; then
        allow_starting_services
        # The tests start their own; this one is not to come up at the next boot either.
        if command -v systemctl >/dev/null; then
            systemctl disable postfix >/dev/null 2>&1 || true
        fi
    fi
    [[ $ok -eq 0 ]] || stop "The packages could not be installed."
}

# Debian asks this file before a package starts its service; 101 means no (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
our_policy=""

forbid_starting_services() {
    [[ -e $policy ]] && return
    trap allow_starting_services EXIT
    our_policy=1
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_starting_services() {
    [[ -n $our_policy ]] && rm -f "$policy"
    our_policy=""
}
