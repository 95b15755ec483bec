# What the scripts here share: words for people, the toolchain, and system packages. Sourced, not run.
# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it

# Oldest Rust that builds this; the same as rust-version in Cargo.toml.
RUST_NEEDED=1.95

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

# A new part of the work.
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain" >&2; }
# Something worth knowing.
say() { printf '    %s\n' "$*" >&2; }
# Something that is as it should be.
good() { printf '    %s✓%s %s\n' "$green" "$plain" "$*" >&2; }
# The end: what is wrong, then what helps.
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
    shift
    [ $# -eq 0 ] || printf 'hint: %s\n' "$@" >&2
    exit 1
}

# Asks before something is done; ASSUME_YES answers for machines.
confirm() {
    [ "${ASSUME_YES:-}" = 1 ] && return
    [ -t 0 ] || die "nobody is there to answer: $1" "run it again with --yes"
    printf '    %s [Y/n] ' "$1" >&2
    local answer
    read -r answer
    case $answer in '' | [Yy]*) ;; *) die "stopped, as you wished" ;; esac
}

# Asks whether something is wanted that can be left out. No is an answer, and nobody there is one too.
wanted() {
    [ "${ASSUME_YES:-}" = 1 ] && return
    [ -t 0 ] || return
    printf '    %s [Y/n] ' "$1" >&2
    local answer
    read -r answer
    case $answer in '' | [Yy]*) ;; *) return 1 ;; esac
}

# Finds cargo and checks that it is young enough.
need_rust() {
    local cargo_bin="${CARGO_HOME:-${HOME:-}/.cargo}/bin"
    if ! command -v cargo >/dev/null && [ -x "$cargo_bin/cargo" ]; then
        PATH="$cargo_bin:$PATH"
    fi
    local get="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
    command -v cargo >/dev/null || die "the Rust toolchain is missing" "get it with: $get"
    local version
    version=$(rustc --version 2>/dev/null) || die "rustc does not run" "if rustup is installed: rustup default stable"
    version=${version#rustc }
    version=${version%% *}
    if ! older_or_same "$RUST_NEEDED" "${version%%-*}"; then
        local mend="rustup update stable && rustup default stable"
        command -v rustup >/dev/null || mend="install a current one with: $get"
        die "Rust $version is too old: $RUST_NEEDED or newer is needed" "$mend"
    fi
    good "Rust $version"
}

# True when version $1 is not newer than version $2.
older_or_same() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Runs something that talks a lot: one changing line on a terminal, all of it only when it fails.
quietly() {
    local log code=0 line
    log=$(mktemp)
    if [ -t 2 ]; then
        "$@" 2>&1 | tee "$log" | while IFS= read -r line; do
            printf '\r\e[K    %s%s%s' "$dim" "${line:0:70}" "$plain" >&2
        done || code=$?
        printf '\r\e[K' >&2
    else
        "$@" >"$log" 2>&1 || code=$?
    fi
    [ "$code" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$code"
}

# Installs the packages given as `package=check`, where check is a program or an absolute path that shows that the
# package is there. Only what is missing is installed, and nobody is asked for a password unasked.
need_packages() {
    local missing=() pair package check
    for pair in "$@"; do
        package=${pair%%=*} check=${pair#*=}
        case $check in
            /*) [ -e "$check" ] && continue ;;
            *) command -v "$check" >/dev/null && continue ;;
        esac
        missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        good "system packages: nothing is missing"
        return
    fi
    command -v apt-get >/dev/null ||
        die "missing: ${missing[*]}, and there is no apt-get to install them with" \
            "install what your system calls these packages, then run this again"
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            die "missing: ${missing[*]}, and there is no sudo" "as root: apt-get install ${missing[*]}"
        sudo=(sudo)
    fi
    say "missing: ${missing[*]}"
    confirm "install with: ${sudo[*]:+sudo }apt-get install ${missing[*]}?"
    say "installing, this may take a minute"
    local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 -q)
    # One source of many that cannot be reached is no reason to stop.
    quietly "${apt[@]}" update || say "apt-get update failed, as it says above; trying with what is known"
    quietly "${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
        die "apt-get install failed; what it said is above"
    good "installed: ${missing[*]}"
}

# What it takes to build and run outlast.
BUILD_PACKAGES=(
    gcc=cc
    libc6-dev=/usr/include/stdio.h
    make=make
    # All of it: what it is needed for wants modules that perl-base lacks.
    perl=/usr/bin/prove
    ca-certificates=/etc/ssl/certs/ca-certificates.crt
    tmux=tmux
)

# What makes a program that needs no shared library: it starts in half the time, and a command line is all start-up.
STATIC_FLAGS='-C target-feature=+crt-static -C relocation-model=static'

# Builds the release. `release` is where the programs lie then, and `release_env` what cargo has to be run with for
# more of the same. Static, where that can be linked here. The target is named so that the flags do not reach build
# scripts and procedural macros, which cannot be static.
build_release() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    release=${CARGO_TARGET_DIR:-target}/release
    release_env=(env)
    if can_link_static "$host"; then
        release=${CARGO_TARGET_DIR:-target}/$host/release
        release_env+=("RUSTFLAGS=${RUSTFLAGS:+$RUSTFLAGS }$STATIC_FLAGS" "CARGO_BUILD_TARGET=$host")
    else
        say "programs without shared libraries cannot be linked here; ordinary ones start a little slower"
    fi
    "${release_env[@]}" cargo build --release --locked --workspace --bins
}

# True when a static program can be linked for this target and runs.
can_link_static() {
    case $1 in *-linux-gnu) ;; *) return 1 ;; esac
    local dir code=0
    dir=$(mktemp -d)
    # shellcheck disable=SC2086 # they are several words
    { echo 'fn main() {}' | rustc $STATIC_FLAGS --target "$1" -o "$dir/probe" - && "$dir/probe"; } \
        >/dev/null 2>&1 || code=1
    rm -rf "$dir"
    return "$code"
}

# Builds the command once more, in place of the one in `release`, where it can be linked with musl. A command is all
# start-up, and most of that is glibc asking the processor what it can do: some seventy questions, each of which a virtual
# machine answers by a detour. musl asks nothing.
build_command() {
    local target linker built
    target=$(uname -m)-unknown-linux-musl
    rustup target list --installed 2>/dev/null | grep -qx "$target" || return 0
    linker=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_LINKER=rust-lld
    built=${CARGO_TARGET_DIR:-target}/$target/release/outlast
    if env -u CARGO_ENCODED_RUSTFLAGS "RUSTFLAGS=$MUSL_FLAGS" "$linker" \
        cargo build --release --locked -p outlast --bin outlast --target "$target"; then
        cp "$built" "$release/.outlast.new" && mv -f "$release/.outlast.new" "$release/outlast"
    else
        say "the command cannot be linked with musl here; it starts a little slower"
    fi
}

# For programs of musl, which are static anyway: at a fixed place they start without being moved there, and are smaller.
MUSL_FLAGS='-C relocation-model=static'

# What a helper for hosts of every kind is built for. Static, so that it runs on any Linux of its architecture.
HELPER_TARGETS=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)

# Builds the helpers that are sent to hosts, for their size, which is what a connection waits for. `helpers` is the files
# then, each named as the daemon looks for it in the directory `helpers_dir`, and each packed, too: the name of that says
# what it was made of. There may be none, since the plain helper still serves hosts that are like this machine.
build_helpers() {
    helpers=()
    helpers_dir=${CARGO_TARGET_DIR:-target}/helpers
    local only="only hosts that are like this machine can be reached by ssh then"
    if ! command -v rustup >/dev/null; then
        say "skipped, because this Rust did not come by rustup: $only"
        return
    fi
    local missing=() target
    for target in "${HELPER_TARGETS[@]}"; do
        rustup target list --installed | grep -qx "$target" || missing+=("$target")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "missing: the Rust standard library for ${missing[*]}"
        if ! wanted "install with: rustup target add ${missing[*]}?"; then
            say "skipped: $only"
            return
        fi
        if ! quietly rustup target add "${missing[@]}"; then
            say "skipped, because rustup failed; what it said is above: $only"
            return
        fi
    fi
    rm -rf "$helpers_dir"
    mkdir -p "$helpers_dir"
    local linker arch helper packed small=(CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat)
    for target in "${HELPER_TARGETS[@]}"; do
        arch=${target%%-*}
        # Rust's own linker and C library: no C compiler for the target is needed.
        linker=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_LINKER=rust-lld
        # Flags that are meant for this machine would be of no use on another, or make it no static program.
        if env -u CARGO_ENCODED_RUSTFLAGS "RUSTFLAGS=$MUSL_FLAGS" "$linker" "${small[@]}" cargo build --release --locked -p outlast-helper --bin outlast-helper --target "$target"; then
            helper=outlast-helper-$arch-linux-musl
            cp "${CARGO_TARGET_DIR:-target}/$target/release/outlast-helper" "$helpers_dir/$helper"
            packed=$helper.$(sha256sum <"$helpers_dir/$helper" | cut -c 1-16).gz
            gzip -9 -n <"$helpers_dir/$helper" >"$helpers_dir/$packed"
            helpers+=("$helper" "$packed")
        else
            say "the helper for $arch cannot be built here: hosts with that processor cannot be reached"
        fi
    done
}
