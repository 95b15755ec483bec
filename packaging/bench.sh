#!/usr/bin/env bash
# Measures the release build against its peers, in one run: medians of interleaved rounds, and what was promised.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=packaging/lib.sh
. packaging/lib.sh

usage() {
    cat <<'EOF'
usage: packaging/bench.sh [--yes] [--memory] [FIGURE…]

Builds the release and prints one line for each figure: ours, the peer's, the ratio, and what was promised.
FIGURE narrows it down. On this machine: idle status submit latency throughput jobs sessions. On hosts, against ssh
with a connection that it keeps, on loopback and 40 ms away: exec crowd first output busy typing connect attention.
Syncs to such hosts: saved burst copy large delta unchanged watched. Everything runs in a sandbox of its own, in /tmp;
the large files of syncs take 4 GB there.

  --yes      answer every question with yes
  --memory   keep what is written in memory, where /tmp is for the measurements alone: then figures of syncs do not
             tell of the disk of this machine. Takes root.
  --help     this text

Peers are looked for in OUTLAST_BENCH_PEERS (a directory) and PATH: pueue with pueued, tmux, tail; for syncs lsyncd,
rsync, unison, which are installed when you say yes. A peer that is not there is left out. The figures on hosts need ssh
and sshd. OUTLAST_BENCH_ROUNDS says how many rounds there are (100), and of what takes long there are fewer.
OUTLAST_BENCH_EACH=1 tells each round of syncs.
EOF
}

# shellcheck disable=SC2016 # it is for the shell that is started
in_memory='mount -t tmpfs tmpfs /tmp && exec "$@"'
figures=() place=()
for word in "$@"; do
    case $word in
        -h | --help) usage && exit ;;
        -y | --yes) ASSUME_YES=1 ;;
        --memory) place=(unshare --mount sh -c "$in_memory" sh) ;;
        -*) usage >&2 && die "what is $word?" ;;
        *) figures+=("$word") ;;
    esac
done

# True when one of these figures is wanted.
wants() {
    [ ${#figures[@]} -eq 0 ] && return
    local figure
    for figure in "$@"; do
        case " ${figures[*]} " in *" $figure "*) return ;; esac
    done
    return 1
}

# What syncs are compared with. None of it has to be there.
sync_peers() {
    local peers=(lsyncd=lsyncd rsync=rsync unison=unison) peer missing=()
    for peer in "${peers[@]}"; do
        command -v "${peer#*=}" >/dev/null || missing+=("${peer%%=*}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "missing, to compare syncs with: ${missing[*]}"
    if command -v apt-get >/dev/null && wanted "install with: apt-get install ${missing[*]}?"; then
        ASSUME_YES=1 need_packages "${peers[@]}"
    else
        say "left out: ${missing[*]}"
    fi
}

need_rust
! wants saved burst copy large delta unchanged watched || sync_peers
build_release
build_helpers
build_command
# Beside the programs, where they lie in an installation.
for helper in ${helpers[@]+"${helpers[@]}"}; do cp "$helpers_dir/$helper" "$release/"; done
# And as an installation writes them: what a linker wrote piece by piece lies in the page cache in small pages.
for program in outlast outlast-helper; do
    cp "$release/$program" "$release/.$program.new" && mv -f "$release/.$program.new" "$release/$program"
done
# Like the release, so that the bench finds those very programs beside it.
for bench in compare hosts sync; do
    ${place[@]+"${place[@]}"} "${release_env[@]}" cargo bench --locked --quiet -p outlastd --bench "$bench" -- ${figures[@]+"${figures[@]}"}
done
