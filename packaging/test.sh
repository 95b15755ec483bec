#!/usr/bin/env bash
# Installs what the tests need and runs them all; CI runs this very script.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=packaging/lib.sh
. packaging/lib.sh

usage() {
    cat <<'EOF'
usage: packaging/test.sh [--yes] [--only lint|tests]

Checks formatting, lints, documentation, scripts and dependencies, then runs every test. Installs what is
missing for that (it asks before it uses sudo). Everything is built and kept in target/.

  --yes          answer every question with yes
  --only lint    the checks without the tests
  --only tests   the tests without the checks
  --help         this text

Environment: OUTLAST_SEED repeats random choices, OUTLAST_KILLS says how often the kill loop kills (200).
EOF
}

only=all
while [ $# -gt 0 ]; do
    case $1 in
        -y | --yes) ASSUME_YES=1 ;;
        -h | --help) usage && exit ;;
        --only)
            only=${2:-}
            shift
            case $only in lint | tests) ;; *) die "--only takes lint or tests" ;; esac
            ;;
        *) usage >&2 && die "what is $1?" ;;
    esac
    shift
done
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
begun=$SECONDS

step "Looking for what it takes"
need_rust
# A far end for tests of hosts, with every kind of login shell and account, networks that can be cut, and a container with
# one program.
host_packages=(
    openssh-client=ssh openssh-server=/usr/sbin/sshd dash=dash bash=bash zsh=zsh fish=fish tcsh=tcsh
    iproute2=ip iptables=/usr/sbin/iptables openssl=openssl busybox-static=busybox
)
# A desktop's bus and a webhook, for tests of being told.
notify_packages=(dbus=dbus-daemon libglib2.0-bin=gdbus curl=curl util-linux=flock)
# What syncs are compared with: by content, and by what counts.
sync_packages=(git=git rsync=rsync)
need_packages "${BUILD_PACKAGES[@]}" "${host_packages[@]}" "${sync_packages[@]}" "${notify_packages[@]}" python3=python3 shellcheck=shellcheck \
    python3-venv="$(python3 -c 'import ensurepip; print(ensurepip.__file__)' 2>/dev/null || echo /missing)"
for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 && continue
    component=${tool/fmt/rustfmt}
    say "missing: $component"
    command -v rustup >/dev/null || die "$component is missing" "install it from where your Rust came from"
    confirm "install with: rustup component add $component?"
    rustup component add "$component" >&2
done

# Tests of full disks and reboots mount things where nobody else sees them.
need_namespaces() {
    local as=() said
    [ "$(id -u)" = 0 ] || as=(--user --map-root-user)
    said=$(unshare "${as[@]}" --mount --propagation unchanged true 2>&1) && return
    die "some tests make mount namespaces, and here none can be made: $said" \
        "in a container: allow it to (docker run --privileged)" \
        "as another user than root: allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 or" \
        "  kernel.apparmor_restrict_unprivileged_userns=0, whichever there is), or run this as root"
}
[ "$only" = lint ] || need_namespaces

# Tests of hosts whose network is cut give them one of their own, which takes root in earnest: the machine's side of it
# is outside of every namespace a user can make.
need_networks() {
    local probe=ol-probe-$$ said
    said=$({ "$@" ip netns add "$probe" && "$@" ip netns del "$probe"; } 2>&1) && return
    die "some tests make networks, and here none can be made: $said" \
        "in a container: allow it to (docker run --privileged)"
}
[ "$only" = lint ] || [ "$(id -u)" != 0 ] || need_networks

# Some tests play another user or make networks. Asked for right before the tests, because sudo forgets.
need_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null && return
    command -v sudo >/dev/null || die "some tests take root, and there is no sudo" "run this as root"
    confirm "some tests play another user or make networks; ask sudo for your password?"
    sudo -v || die "sudo does not let you"
}

lint() {
    step "Formatting"
    cargo fmt --all --check || die "the code is not formatted" "cargo fmt --all"
    good "formatted"
    step "Lints"
    cargo clippy --workspace --all-targets --locked -- -D warnings
    step "Documentation"
    # Private items too: these pages are for those who work on it.
    RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --workspace --no-deps --document-private-items --locked
    step "Scripts"
    shellcheck -x packaging/*.sh .ci/run
    good "shellcheck finds nothing"
    step "Dependencies"
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --workspace --all-features check --hide-inclusion-graph bans licenses sources
    else
        say "skipped, because cargo-deny is not installed (cargo install --locked cargo-deny)"
    fi
}

# A Python with the stock gRPC library, for the program in the README.
python_for_readme() {
    step "Python for the README's program"
    venv=${CARGO_TARGET_DIR:-$PWD/target}/test-venv
    if ! "$venv/bin/python" -c 'import grpc_reflection' 2>/dev/null; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check 'grpcio==1.*' 'grpcio-reflection==1.*' ||
            die "grpcio could not be installed into $venv"
    fi
    good "$("$venv/bin/python" -c 'import grpc; print("grpcio", grpc.__version__)')"
    export OUTLAST_TEST_PYTHON=$venv/bin/python
}

# Hosts are sent the portable helpers, so those are what tests of hosts are to use.
portable_helpers() {
    step "Building the helpers for hosts"
    build_helpers
    local own=$PWD/$helpers_dir
    case $helpers_dir in /*) own=$helpers_dir ;; esac
    if [ -f "$own/outlast-helper-$(uname -m)-linux-musl" ]; then
        export OUTLAST_LIBDIR=$own
        good "hosts are sent ${helpers[*]}"
    else
        unset OUTLAST_LIBDIR
        say "hosts are sent the helper of this build instead"
    fi
}

# What runs the tests: it gives each a process and a limit of time, and the long ones the machine for themselves.
get_nextest='cargo install --locked cargo-nextest'
need_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return
    say "missing: cargo-nextest, which limits the time of tests and runs them beside each other"
    if wanted "install with: $get_nextest? (It takes some minutes.)"; then
        # Flags of ours are not for it.
        quietly env -u RUSTFLAGS -u CARGO_BUILD_TARGET cargo install --locked cargo-nextest && return
        say "it could not be installed; what cargo said is above"
    fi
    if [ "$(id -u)" != 0 ]; then
        die "some tests take root, and only cargo-nextest can run these alone by sudo" \
            "get it with: $get_nextest" "or run this as root"
    fi
}

# Runs everything. Whoever is not root has the tests of hosts run by root, for the sake of their networks, and those that
# make what is somebody else's.
run_with_nextest() {
    local as_root='binary(hosts) or (package(outlast-helper) and binary(syncs) and test(/^root::/))'
    local run=(cargo nextest run --workspace --locked --profile ci) code=0 runner
    # Examples in documentation are not nextest's business; they go first, so that its summary closes the run.
    cargo test --workspace --locked --doc --quiet
    if [ "$(id -u)" = 0 ]; then
        "${run[@]}"
        return
    fi
    "${run[@]}" -E "not ($as_root)" || code=$?
    need_root
    runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER
    env "$runner=sudo -n -E" "${run[@]}" -E "$as_root" || code=$?
    return "$code"
}

tests() {
    need_nextest
    python_for_readme
    step "Building the programs"
    cargo build --workspace --bins --locked
    portable_helpers
    step "Tests"
    need_root
    [ "$(id -u)" = 0 ] || need_networks sudo -n
    if cargo nextest --version >/dev/null 2>&1; then
        run_with_nextest
    else
        say "cargo-nextest is not installed, so cargo runs them one program after the other, without a limit of time"
        say "get it with: $get_nextest, or as https://nexte.st/docs/installation says"
        cargo test --workspace --locked --no-fail-fast
    fi
}

[ "$only" = tests ] || lint
[ "$only" = lint ] || tests
step "All is well, after $((SECONDS - begun)) s"
