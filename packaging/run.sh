#!/usr/bin/env bash
# Builds outlast, installs it into your home, and shows it: a tour, or a command of yours as its first job.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=packaging/lib.sh
. packaging/lib.sh

usage() {
    cat <<'EOF'
usage: packaging/run.sh [--yes] [-- CMD…]

Installs what is missing to build outlast (it asks before it uses sudo), builds the release, installs it
into your home, starts the daemon, and runs CMD as a job. Without CMD it takes you on a short tour.

  --yes    answer every question with yes
  --help   this text

Outside your home nothing is touched but system packages. Inside:
  ~/.local/lib/outlast/   the programs
  ~/.local/bin/           links to `outlast` and `outlastd` (XDG_BIN_HOME, when set)
EOF
}

here=$PWD
while [ $# -gt 0 ]; do
    case $1 in
        -y | --yes) ASSUME_YES=1 ;;
        -h | --help) usage && exit ;;
        --) shift && break ;;
        *) usage >&2 && die "what is $1?" "commands come after --: packaging/run.sh -- $*" ;;
    esac
    shift
done
[ -n "${HOME:-}" ] || die "HOME is not set"

step "Looking for what it takes"
need_rust
need_packages "${BUILD_PACKAGES[@]}"
tmux_version=$(tmux -V | sed 's/^tmux //; s/^next-//')
older_or_same 3.2 "$tmux_version" ||
    say "tmux $tmux_version is older than 3.2: jobs will work, sessions will not"

step "Building the release"
say "the first time this takes some minutes"
build_release

step "Building the helper for hosts"
build_helpers
build_command

step "Installing into your home"
lib=$HOME/.local/lib/outlast
bin=${XDG_BIN_HOME:-$HOME/.local/bin}
mkdir -p "$lib" "$bin"
# Renamed into place, because what runs at this moment must not be written over.
put() { cp "$1/$2" "$lib/.$2.new" && mv -f "$lib/.$2.new" "$lib/$2"; }
for program in outlast outlastd outlast-helper; do put "$release" "$program"; done
for program in ${helpers[@]+"${helpers[@]}"}; do put "$helpers_dir" "$program"; done
# What was packed of earlier builds is of no more use.
for packed in "$lib"/outlast-helper-*.gz; do
    [ ${#helpers[@]} -eq 0 ] || [ -e "$helpers_dir/${packed##*/}" ] || rm -f "$packed"
done
for program in outlast outlastd; do
    ln -sfn "$lib/$program" "$bin/$program"
done
good "$lib"
good "$bin/outlast"
outlast=$bin/outlast
case ":$PATH:" in
    *":$bin:"*) ;;
    *)
        say "$bin is not in the PATH of this shell. To have \`outlast\` here and in every new shell:"
        add="export PATH=\"$bin:\$PATH\""
        case ${SHELL:+${SHELL##*/}} in
            fish) say "  fish_add_path $bin" ;;
            zsh) say "  echo '$add' >> ~/.zshrc && $add" ;;
            bash) say "  echo '$add' >> ~/.bashrc && $add" ;;
            *) say "  echo '$add' >> ~/.profile && $add" ;;
        esac
        ;;
esac

step "Starting the daemon"
if "$outlast" --no-start status >/dev/null 2>&1; then
    say "one is running; it makes way for the new build, and what it looks after goes on"
    "$outlast" daemon restart
else
    "$outlast" daemon start
fi

if [ $# -gt 0 ]; then
    step "Running your command as a job"
    cd "${OLDPWD:-$here}"
    exec "$outlast" run -- "$@"
fi
exec bash "$here/packaging/tour.sh" "$outlast"
