#!/usr/bin/env bash
# Measures the release build against its peers, in one run: medians of interleaved rounds, and what was promised.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=packaging/lib.sh
. packaging/lib.sh

case ${1:-} in
    -h | --help)
        cat <<'EOF'
usage: packaging/bench.sh [FIGURE…]

Builds the release and prints one line for each figure: ours, the peer's, the ratio, and what was promised.
FIGURE narrows it down. On this machine: idle status submit latency throughput jobs sessions. On hosts, against ssh
with a connection that it keeps, on loopback and 40 ms away: exec crowd first output busy typing connect. Everything
runs in a sandbox of its own.

Peers are looked for in OUTLAST_BENCH_PEERS (a directory) and PATH: pueue with pueued, tmux, tail. A peer that is
not there is left out. The figures on hosts need ssh and sshd. OUTLAST_BENCH_ROUNDS says how many rounds there are
(100).
EOF
        exit
        ;;
esac

need_rust
build_release
build_helpers
# Beside the programs, where they lie in an installation.
for helper in ${helpers[@]+"${helpers[@]}"}; do cp "$helpers_dir/$helper" "$release/"; done
# And as an installation writes them: what a linker wrote piece by piece lies in the page cache in small pages.
for program in outlast outlast-helper; do
    cp "$release/$program" "$release/.$program.new" && mv -f "$release/.$program.new" "$release/$program"
done
# Like the release, so that the bench finds those very programs beside it.
for bench in compare hosts; do
    "${release_env[@]}" cargo bench --locked --quiet -p outlastd --bench "$bench" -- "$@"
done
