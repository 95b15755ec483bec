#!/usr/bin/env bash
# A tour of half a minute: a job whose daemon is killed before your eyes, and a session to come back to.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

outlast=${1:-outlast}
command -v "$outlast" >/dev/null || die "$outlast is not there" "packaging/run.sh builds and installs it"
scratch=$(mktemp -d)
name=tour-$$
shell=$name-shell

leave() {
    "$outlast" --quiet --no-start session delete "$shell" --force --yes >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap leave EXIT

# Time to read, for those who read.
breathe() { if [ -t 1 ]; then sleep "$1"; fi; }
# Shows a command as it would be typed.
typed() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; }
tell() { printf '%s\n' "$*"; }

# Looks for two seconds at most, because a tour does not wait for ever.
soon() { for _ in {1..20}; do if "$1"; then return; fi && sleep 0.1; done; }
running() { "$outlast" session show "$shell" --json | grep -q '"state": *"running"'; }
# On the screen once as it was typed, and once as it was answered.
answered() { [ "$("$outlast" session peek "$shell" | grep -c 'I am still here')" -ge 2 ]; }

step "A job that outlives the daemon" 2>&1
tell "A job that counts to thirty, in the background:"
# shellcheck disable=SC2016 # the job's shell expands it
count='echo $$ >"$1"; i=1; while [ $i -le 30 ]; do echo "line $i"; i=$((i + 1)); sleep 0.2; done'
typed "outlast run -d --name $name -- sh -c 'count to thirty'"
job=$("$outlast" run -d --name "$name" -- sh -c "$count" count "$scratch/pid")
tell "$job"
breathe 1
typed "outlast logs -f $name"

# Kills the daemon, and shows that the job did not notice.
strike() {
    local daemon program
    daemon=$("$outlast" --no-start daemon status --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
    program=$(cat "$scratch/pid")
    printf '\n%s$ kill -9 %s%s   %s# that was outlastd%s\n' "$bold" "$daemon" "$plain" "$dim" "$plain"
    kill -9 "$daemon"
    if kill -0 "$program" 2>/dev/null; then
        printf '%sthe daemon is gone; process %s, the job, counts on%s\n\n' "$green" "$program" "$plain"
    fi
}

"$outlast" --quiet logs -f "$name" | while IFS= read -r line; do
    printf '%s\n' "$line" | tee -a "$scratch/seen"
    if [ "$line" = "line 10" ]; then strike; fi
done

for ((i = 1; i <= 30; i++)); do echo "line $i"; done >"$scratch/expected"
cmp -s "$scratch/seen" "$scratch/expected" || die "the followed lines are not 1 to 30: please report this as a bug"
printf '\n%s✓%s thirty lines, none missing, none twice: the follower came back by itself, at the very byte\n' \
    "$green" "$plain"
breathe 2

step "A session to come back to" 2>&1
tell "A terminal that goes on when you close yours:"
typed "outlast session create $shell -- sh"
"$outlast" session create "$shell" -- sh
soon running
typed "outlast session send $shell 'echo I am still here'"
"$outlast" session send "$shell" 'echo I am still here'
soon answered
typed "outlast session peek $shell"
"$outlast" session peek "$shell" | sed '/^ *$/d; s/^/    /'
breathe 2

step "At a glance" 2>&1
typed "outlast"
"$outlast"
breathe 1

step "What to try next" 2>&1
next() { printf '    %-34s%s\n' "$1" "$2"; }
command -v outlast >/dev/null ||
    tell "    (outlast is not in the PATH of this shell yet: what puts it there stands above, under \"Installing\")"
next "outlast run -- make test" "run something and follow it; Ctrl-C lets it go on"
next "outlast logs $name" "what the tour's job wrote"
next "outlast session create work" "a shell that stays; outlast attach work"
next "outlast doctor" "is everything as it should be?"
next "outlast --help" "all the rest"
