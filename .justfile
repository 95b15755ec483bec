# What people type; each is one command of the scripts that CI runs, so that both stay the same.

# List what there is.
default:
    @just --list

# Everything that CI checks.
test:
    packaging/test.sh

# The fast part of it: formatting, lints, dependencies.
lint:
    packaging/test.sh --only lint

# The kill loop alone, for as many kills as you like.
kill-loop kills="200":
    cargo build --workspace --bins
    OUTLAST_KILLS={{kills}} cargo test -p outlastd --test kill_loop -- --nocapture

# Build, install into your home, and show it.
run *args:
    packaging/run.sh {{args}}

# Compare with its peers.
bench *args:
    packaging/bench.sh {{args}}
