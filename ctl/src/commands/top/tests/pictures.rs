//! What the state looks like, in large and small.

use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    layout::Position,
    style::{Color, Modifier},
};

use super::*;
use crate::commands::top::{look::Look, picture::Picture, view};

const LOOK: Look = Look {
    color: true,
    colors: 256,
    utf8: true,
};

fn draw(state: &State, look: Look, columns: u16, rows: u16) -> (TestBackend, Option<Position>) {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut cursor = None;
    terminal
        .draw(|frame| cursor = view::draw(state, look, frame.buffer_mut()))
        .unwrap();
    (terminal.backend().clone(), cursor)
}

/// The lines of a picture without what is blank at their ends.
fn lines(state: &State, columns: u16, rows: u16) -> Vec<String> {
    let (backend, _) = draw(state, LOOK, columns, rows);
    let cells = backend.buffer().content().chunks(usize::from(columns));
    cells
        .map(|cells| {
            cells
                .iter()
                .map(|cell| cell.symbol())
                .collect::<String>()
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn with_screen() -> State {
    let mut state = state();
    let screen = "claude\n\x1b[31mred\x1b[0m plain\nWhich branch?\n> \n\n\n";
    state.take(In::Screen("id-long".to_owned(), Picture::read(screen.as_bytes())));
    state
}

#[test]
fn eighty_by_twenty_four() {
    let shown = lines(&with_screen(), 80, 24);
    assert_eq!(
        shown.join("\n"),
        "\
outlast  3 wait for you, 2 not well
1 Sessions  5, 2 wait, 1 not well ──────────────────────────────────────────────
long  waiting  2m   build1  Which branch?  (report)
late  waiting  20s  build1  Run the migration? [y/n]  (report)
fell  error    1m   build1  rate limit  (report)
busy  working  3s   build1  claude  (report)
2 Jobs  1 live, 2 ended lately ─────────────────────────────────────────────────
nightly  running    40s  local  make test
3 Syncs  2, 1 waits ────────────────────────────────────────────────────────────
site  halted    build1  the source is empty
4 Hosts  3, 1 not well ─────────────────────────────────────────────────────────
gpu     backoff           connection timed out, seen 1m ago  0 sessions, 0 jobs
5 Events ───────────────────────────────────────────────────────────────────────
gpu   host.link      5s          backoff, connection timed out
long on build1 ─────────────────────────────────────────────────────────────────
claude
red plain
Which branch?
>




Enter attach  s send  i interrupt  c stop  w waiting  / filter  ? help  q quit"
    );
}

#[test]
fn a_hundred_and_twenty_by_forty() {
    let shown = lines(&with_screen(), 120, 40);
    assert_eq!(
        shown.join("\n"),
        "\
outlast  3 wait for you, 2 not well
1 Sessions  5, 2 wait, 1 not well ──────────────────────────────────────────────────────────────────────────────────────
long  waiting  2m   build1  Which branch?  (report)
late  waiting  20s  build1  Run the migration? [y/n]  (report)
fell  error    1m   build1  rate limit  (report)
busy  working  3s   build1  claude  (report)
calm  idle     10m  build1  claude  (report)
2 Jobs  1 live, 2 ended lately ─────────────────────────────────────────────────────────────────────────────────────────
nightly  running    40s  local  make test
docs     succeeded  30s  local  make test
lint     failed 7   1m   local  make test
3 Syncs  2, 1 waits ────────────────────────────────────────────────────────────────────────────────────────────────────
site  halted    build1  the source is empty
app   watching  build1  /home/me/app to src/app
4 Hosts  3, 1 not well ─────────────────────────────────────────────────────────────────────────────────────────────────
gpu     backoff           connection timed out, seen 1m ago  0 sessions, 0 jobs
local   up       12.3 ms  0 sessions, 1 job
build1  up       12.3 ms  5 sessions, 0 jobs
5 Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
gpu   host.link      5s          backoff, connection timed out
calm  session.state  5s  build1  running

long on build1 ─────────────────────────────────────────────────────────────────────────────────────────────────────────
claude
red plain
Which branch?
>












Enter attach  s send  i interrupt  c stop  w waiting  / filter  p peek  Tab next  ? help  q quit"
    );
}

#[test]
fn forty_by_ten() {
    let shown = lines(&with_screen(), 40, 10);
    assert_eq!(
        shown.join("\n"),
        "\
outlast  3 wait for you, 2 not well
1 Sessions  5, 2 wait, 1 not well ──────
long  waiting  2m   Which branch?  (rep…
late  waiting  20s  Run the migration? …
2 Jobs  1 live, 2 ended lately ─────────
nightly  running    40s  make test
3 Syncs  2, 1 waits ────────────────────
4 Hosts  3, 1 not well ─────────────────
5 Events ───────────────────────────────
Enter attach  s send  ? help  q quit"
    );
}

#[test]
fn the_selected_line_is_reversed_in_every_terminal() {
    let mut state = state();
    press(&mut state, "j");
    let (backend, _) = draw(&state, Look { color: false, ..LOOK }, 80, 24);
    let reversed = |y| backend.buffer()[(70, y)].modifier.contains(Modifier::REVERSED);
    let rows: Vec<u16> = (0..24).filter(|y| reversed(*y)).collect();
    assert_eq!(rows, [3]);
}

#[test]
fn the_screen_of_a_session_has_its_colours_or_none() {
    let red = |look| {
        let (backend, _) = draw(&with_screen(), look, 80, 24);
        let buffer = backend.buffer();
        let at = buffer.content().windows(3).position(|cells| {
            cells[0].symbol() == "r" && cells[1].symbol() == "e" && cells[2].symbol() == "d"
        });
        buffer.content()[at.unwrap()].fg
    };
    assert_eq!(red(LOOK), Color::Indexed(1));
    let plain = Look { color: false, ..LOOK };
    assert_eq!(red(plain), Color::Reset);
    let (backend, _) = draw(&with_screen(), plain, 80, 24);
    assert!(
        backend
            .buffer()
            .content()
            .iter()
            .all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset))
    );
}

#[test]
fn a_host_that_is_away_is_said_with_the_age_of_what_is_known() {
    let mut state = with_screen();
    state.take(In::Hosts(vec![host("build1", Link::Backoff)]));
    state.now += 120.0;
    let shown = lines(&state, 110, 30).join("\n");
    assert!(
        shown.contains("long on build1, 2 min ago: its host is away (backoff), what is known is 3m old"),
        "{shown}"
    );
    assert!(
        shown.contains("Which branch?") && shown.contains("build1 (backoff)"),
        "{shown}"
    );
    press(&mut state, "j");
    let shown = lines(&state, 110, 40).join("\n");
    assert!(
        shown.contains("late on build1: its host is away") && shown.contains("activity"),
        "{shown}"
    );
}

#[test]
fn the_first_line_tells_of_outlastd_and_of_filters() {
    let mut state = state();
    state.take(In::Away);
    state.now += 7.0;
    assert_eq!(
        lines(&state, 80, 24)[0],
        "outlast  outlastd is away since 7s; trying to come back"
    );
    let mut state = super::state();
    press(&mut state, "w/la\u{7}\n");
    assert_eq!(
        lines(&state, 80, 24)[0],
        "outlast  3 wait for you, 2 not well  only what waits  only with \"la\\u{7}\""
    );
}

#[test]
fn the_last_line_is_typed_in_asks_and_tells() {
    let last = |state: &State, columns| lines(state, columns, 24).pop().unwrap();
    let mut state = state();
    press(&mut state, "syes");
    assert_eq!(last(&state, 80), "to long: yes");
    assert_eq!(draw(&state, LOOK, 80, 24).1, Some(Position::new(12, 23)));
    press(&mut state, &"0123456789".repeat(9));
    assert!(
        last(&state, 40).ends_with("56789") && draw(&state, LOOK, 40, 24).1 == Some(Position::new(39, 23))
    );
    press(&mut state, "\u{1b}c");
    assert_eq!(last(&state, 80), "stop session long? y/n");
    press(&mut state, "n2\n");
    assert_eq!(
        last(&state, 80),
        "error: a job has no terminal  hint: outlast logs -f nightly"
    );
    let narrow = lines(&state, 40, 24);
    assert_eq!(
        narrow[22..],
        ["error: a job has no terminal", "hint: outlast logs -f nightly"]
    );
    // What fails while something is typed is said above it, and stays as long.
    press(&mut state, "1s");
    state.take(In::Failed("no".to_owned(), None));
    press(&mut state, "ab");
    assert_eq!(lines(&state, 80, 24)[22..], ["error: no", "to long: ab"]);
    press(&mut state, "\u{1b}?");
    let help = lines(&state, 80, 24).join("\n");
    assert!(help.contains("Enter         attach to the session"), "{help}");
}

#[test]
fn what_comes_from_outside_is_escaped() {
    let mut state = State::new(0.0);
    let evil = "a\u{1b}[2J\u{202e}b\u{200b}\u{7}\n";
    let mut seen = overview();
    for session in &mut seen.sessions {
        session.name = evil.to_owned();
        session.host = evil.to_owned();
        session.activity_message = Some(evil.to_owned());
        session.activity_source = Some(evil.to_owned());
    }
    seen.hosts[2].error = Some(evil.to_owned());
    seen.live_jobs[0].name = Some(evil.to_owned());
    seen.live_jobs[0].command = vec![evil.to_owned()];
    seen.syncs[1].message = Some(evil.to_owned());
    state.take(In::Overview(Box::new(seen)));
    state.take(event(1, evil, evil, r#"{"name":"\u001b[2J","reason":"\u202e"}"#));
    state.take(In::NoScreen("id-long".to_owned(), evil.to_owned()));
    for keys in ["", "s", "\u{1b}c", "2", "c", "n3", "4", "5"] {
        press(&mut state, keys);
        let (backend, _) = draw(&state, LOOK, 200, 60);
        for cell in backend.buffer().content() {
            assert!(
                !cell.symbol().chars().any(outlast_client::text::is_unsafe),
                "{keys:?} {:?}",
                cell.symbol()
            );
        }
    }
}

proptest! {
    #[test]
    fn it_can_be_drawn_at_any_size(columns in 0_u16..130, rows in 0_u16..50, keys in "[jkgG12345/ws?cpn\n\t\u{1b}]{0,12}") {
        let mut state = with_screen();
        press(&mut state, &keys);
        draw(&state, LOOK, columns, rows);
    }
}
