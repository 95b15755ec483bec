//! The pictures of `outlast top` in the README: drawn by the real program over a real daemon, with sessions, a job and a sync
//! that are real, half of them on a host that is reached by ssh.
//!
//! The test compares them with what is drawn now, but for ages and times. To draw them anew:
//! `OUTLAST_PICTURES=write cargo nextest run -p outlastd --test pictures`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::{env, fs};

use outlast_testkit::{DEADLINE, Sandbox, Terminal, wait_until};
use regex::Regex;
use support::cli::{create, json, outlast};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Says what it did, and asks.
const API: &str = "printf '%s\\n' '> Add the column and backfill it' '' \
    '  Wrote migrations/0042_owner.sql (+31 lines)' '  make test: 128 passed' ''
    read -p 'Apply migration 0042 to staging? [y/N] ' answer";

/// Reports what it does, and goes on.
const DOCS: &str = "echo working chapter 3 of 7 >> \"$OUTLAST_REPORTS\"; exec sleep 1d";
const TRAIN: &str = "echo error CUDA out of memory >> \"$OUTLAST_REPORTS\"; exec cat";

/// Waits until a session does this.
fn does(sandbox: &Sandbox, name: &str, doing: &str) {
    wait_until(DEADLINE, &format!("that {name} is {doing}"), || {
        let shown = json(sandbox, &["session", "show", name, "--json"]);
        (shown["activity"] == doing).then_some(())
    });
}

/// What there is to be seen: one session of each kind, a job, a sync, and a host.
fn work(sandbox: &Sandbox) {
    outlast(sandbox, &["host", "add", "build1", "build1"]);
    let app = sandbox.home().join("app");
    fs::create_dir_all(app.join("migrations")).unwrap();
    fs::write(app.join("migrations/0042_owner.sql"), "-- a column\n").unwrap();
    let (app, home) = (app.display().to_string(), sandbox.home().display().to_string());
    outlast(
        sandbox,
        &["sync", "add", "app", &app, &format!("build1:{home}/srv/app")],
    );
    outlast(sandbox, &["sync", "flush", "app"]);
    let far = ["--host", "build1", "--cwd", &home, "--"];
    let nightly = ["run", "-d", "--name", "nightly"];
    fs::write(sandbox.home().join("nightly.sh"), "exec sleep 1d\n").unwrap();
    outlast(sandbox, &[&nightly[..], &far, &["sh", "nightly.sh"]].concat());
    create(sandbox, "web", &["bash", "--norc", "-i"]);
    does(sandbox, "web", "idle");
    create(sandbox, "docs", &["sh", "-c", DOCS]);
    does(sandbox, "docs", "working");
    for (name, command, doing) in [
        ("train", ["sh", "-c", TRAIN], "error"),
        ("api", ["bash", "-c", API], "waiting"),
    ] {
        outlast(
            sandbox,
            &[&["session", "create", name][..], &far, &command].concat(),
        );
        does(sandbox, name, doing);
    }
}

/// Whether everything is there: what the daemon tells comes by and by.
fn is_whole(screen: &str, columns: u16) -> bool {
    let host = if columns > 80 {
        "\nbuild1  up"
    } else {
        "\nlocal   up"
    };
    [
        host,
        "1 waits for you, 1 not well",
        "\napi    waiting  ",
        "\ntrain  error    ",
        "\ndocs   working  ",
        "\nweb    idle     ",
        "\nnightly  running",
        "\napp  watching  ",
        "\napi on build1 ",
        "\nApply migration 0042 to staging? [y/N]",
    ]
    .iter()
    .all(|part| screen.contains(part))
}

/// A picture without what is different each time: ages and times, what happened last, and the blanks that make room for them.
fn constant(picture: &str) -> Vec<String> {
    let times = Regex::new(r"\b\d+(\.\d+)?( ms|s|m|h|d)\b").unwrap();
    let blanks = Regex::new(r" {2,}").unwrap();
    let mut events = false;
    let mut lines = Vec::new();
    for line in picture.trim_end().lines() {
        let begins = line.ends_with('─');
        events = line.starts_with("5 Events") || events && !begins;
        if begins || !events {
            lines.push(
                blanks
                    .replace_all(&times.replace_all(line, "#"), "  ")
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    lines
}

/// Whether two lines are the same, but for how much of them is cut off, which is by how much room ages take.
fn same(one: &str, other: &str) -> bool {
    match (one.strip_suffix('…'), other.strip_suffix('…')) {
        (None, None) => one == other,
        (one_cut, other_cut) => {
            let (one, other) = (one_cut.unwrap_or(one), other_cut.unwrap_or(other));
            let (short, long) = if one.len() < other.len() {
                (one, other)
            } else {
                (other, one)
            };
            long.starts_with(short.trim_end())
        }
    }
}

/// Where a picture stands in the README: behind this line, up to the end of the block.
fn place(readme: &str, name: &str) -> std::ops::Range<usize> {
    let mark = format!("<!-- output: {name} -->\n```\n");
    let start = readme
        .find(&mark)
        .unwrap_or_else(|| panic!("the README has no {mark}"))
        + mark.len();
    let length = readme[start..].find("```\n").expect("the block ends");
    start..start + length
}

#[test]
fn the_pictures_of_top_are_what_it_shows() {
    let sandbox = Sandbox::new();
    let _sshd = sandbox.sshd("build1");
    work(&sandbox);
    let terminal = Terminal::open(&sandbox, "top", "outlast", &["top"]);
    let home = sandbox.home().display().to_string();
    let mut readme = fs::read_to_string(README).unwrap();
    for (columns, rows) in [(80, 24), (120, 34)] {
        terminal.resize(columns, rows);
        let fits = |screen: &str| {
            let widest = screen.lines().map(|line| line.chars().count()).max();
            is_whole(screen, columns) && widest == Some(usize::from(columns))
        };
        let screen = terminal.wait_screen("all of it", fits);
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let picture = format!("{}\n", lines.join("\n").trim_end()).replace(&home, "/home/me");
        let name = format!("outlast top, {columns} by {rows}");
        let place = place(&readme, &name);
        if env::var("OUTLAST_PICTURES").is_ok_and(|what| what == "write") {
            readme.replace_range(place, &picture);
            fs::write(README, &readme).unwrap();
        } else {
            let (before, now) = (constant(&readme[place]), constant(&picture));
            assert!(
                before.len() == now.len() && before.iter().zip(&now).all(|(one, other)| same(one, other)),
                "{name} is shown otherwise now; OUTLAST_PICTURES=write draws it anew\n{before:#?}\n{picture}"
            );
        }
    }
}
