//! What real shells wrote: Bash 5.2 with marks and without, Zsh 5.9 and fish 3.6 without configuration, and Dash 0.5.12, each on 80
//! columns in tmux 3.3a. Several lines were pasted, a secret was read, a line was left without its end, a loop and a long line followed.

use super::{
    tests::{Log, command, output, texts},
    *,
};

const WIDE: &str = "echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccccccccccccccc";

/// The history of a log in which this was sent, one after the other, behind prompts that end so.
fn history(log: &[u8], prompt: &str, texts: &[&str]) -> Vec<(HistoryKind, String)> {
    let mut copy = Log::new();
    copy.write(std::str::from_utf8(log).unwrap());
    let mut at = 0;
    for text in texts {
        at += if *text == "hunter2" {
            memchr::memmem::find(&log[at..], b"ok\r\n").unwrap()
        } else {
            memchr::memmem::find(&log[at..], prompt.as_bytes()).unwrap() + prompt.len()
        };
        let sent = copy.sent_at(at as u64);
        if let Some(to) = copy.show(sent, text) {
            at = usize::try_from(to).unwrap();
        }
    }
    copy.all()
}

/// The same without what follows the last command.
fn commands(log: &[u8], prompt: &str, texts: &[&str]) -> Vec<(HistoryKind, String)> {
    let mut all = history(log, prompt, texts);
    let wide = [command(WIDE), output(&format!("{}\n", &WIDE["echo ".len()..]))];
    assert_eq!(all.split_off(all.len() - 2), wide);
    all
}

const MARKED: &str = "$ \x1b]133;B\x07";
const LOOP: &str = "for x in 1 2\ndo echo $x\ndone";
const SENT: [&str; 6] = [
    "echo one\n(exit 3)\necho three",
    "read -rs secret; echo ok",
    "hunter2",
    "printf abc",
    "for x in 1 2\ndo echo $x\ndone\nfalse",
    WIDE,
];

#[test]
fn bash_with_marks_tells_one_command_after_the_other() {
    let told = commands(include_bytes!("recorded/bash-marks"), MARKED, &SENT);
    let wanted = [
        command("echo one"),
        output("one\n"),
        command("(exit 3)"),
        output(""),
        command("echo three"),
        output("three\n"),
        command("read -rs secret; echo ok"),
        output("ok\n"),
        command(""),
        output("ok\n"),
        command("printf abc"),
        output("abc"),
        command(LOOP),
        output("1\n2\n"),
        command("false"),
        output(""),
    ];
    assert_eq!(told, wanted);
    // Whoever pasted it, all but what readline garbles itself, behind a line without an end, stands there.
    let told = history(include_bytes!("recorded/bash-marks"), MARKED, &[]);
    assert_eq!(told[..6], wanted[..6]);
    assert_eq!(told[told.len() - 2], command(WIDE));
}

/// What shells without marks tell when they take what is pasted as one.
fn unmarked() -> Vec<(HistoryKind, String)> {
    vec![
        command(SENT[0]),
        output("one\nthree\n"),
        command(SENT[1]),
        output(""),
        command(""),
        output("ok\n"),
        command("printf abc"),
        output("abc"),
        command(SENT[4]),
        output("1\n2\n"),
    ]
}

#[test]
fn bash_and_zsh_without_marks_tell_what_was_pasted_and_no_prompts() {
    assert_eq!(
        commands(include_bytes!("recorded/bash"), "bash-5.2# ", &SENT),
        unmarked()
    );
    let mut wanted = unmarked();
    // It begins a new line itself.
    wanted[7] = output("abc\n");
    assert_eq!(
        commands(include_bytes!("recorded/zsh"), "\x1b[?2004h", &SENT),
        wanted
    );
}

#[test]
fn dash_shows_what_it_is_sent_before_it_reads_it() {
    let mut sent = SENT;
    sent[1] = "stty -echo; read -r secret; stty echo; echo ok";
    let told = commands(include_bytes!("recorded/dash"), "# ", &sent);
    let mut wanted = unmarked();
    wanted[1] = output("one\n\nthree\n");
    wanted[2] = command(sent[1]);
    wanted[9] = output("1\n2\n#\n");
    assert_eq!(told, wanted);
}

#[test]
fn fish_reads_one_line_after_the_other_when_it_is_not_in_brackets() {
    let sent = [
        "echo one\nfalse\necho three",
        "read -s secret; echo ok",
        "hunter2",
        "printf abc",
        "for x in 1 2\necho $x\nend\nfalse",
        WIDE,
    ];
    let wanted = [
        command("echo one"),
        output("one\n"),
        command("false"),
        output(""),
        command("echo three"),
        output("three\n"),
        command("read -s secret; echo ok"),
        output("read> ●●●●●●●\n"),
        command(""),
        output("ok\n"),
        command("printf abc"),
        output("abc\n"),
        command("for x in 1 2"),
        output(""),
        command("echo $x"),
        output(""),
        command("end"),
        output("1\n2\n"),
        command("false"),
        output(""),
    ];
    assert_eq!(
        commands(include_bytes!("recorded/fish"), "# \x1b[K", &sent),
        wanted
    );
}

/// What Bash 5.2 tells that marks its prompts and the ends of its commands only, with brackets and without: empty lines, some that are
/// left, files that are listed, a prompt that is drawn again and a line that is looked for are no commands.
#[test]
fn bash_that_does_not_mark_what_runs_tells_what_was_typed() {
    let wanted = [
        (command("echo hello; false"), Some(1)),
        (output("hello\n"), None),
        (command("echo two"), Some(0)),
        (output("two\n"), None),
        (command("sleep 0.2"), Some(0)),
        (output(""), None),
        (command("sleep 9"), Some(130)),
        (output("^C\n"), None),
        (command("grep ^C /dev/null"), Some(1)),
        (output(""), None),
        (command("echo hello; false"), Some(1)),
        (output("hello\n"), None),
        (command("printf abc"), Some(0)),
        (output("abc"), None),
    ];
    let told = |log: &[u8]| {
        let mut copy = Log::new();
        copy.write(std::str::from_utf8(log).unwrap());
        paging::all_pages_are_the_whole(&copy);
        let found = copy.read(HistoryKind::Unspecified, 1000, Page::Before(u64::MAX));
        let codes = found.entries.iter().map(|entry| entry.exit_code);
        let told: Vec<_> = texts(&found.entries).into_iter().zip(codes).collect();
        (told, found.entries.last().unwrap().running)
    };
    let (with, runs) = told(include_bytes!("recorded/bash-prompts"));
    assert_eq!(with[..wanted.len()], wanted);
    let more = [
        (command(LOOP), Some(0)),
        (output("1\n2\n"), None),
        (command("bash --norc"), Some(0)),
        (output("bash-5.2# echo in\nin\nbash-5.2# exit\nexit\n"), None),
        (command("for x in 1 2\n> do echo $x\n> done"), Some(0)),
        (output("1\n2\n"), None),
        (command("(exit 3)"), Some(3)),
        (output(""), None),
        (command("sleep 9"), None),
        (output(""), None),
    ];
    assert_eq!(with[wanted.len()..], more);
    assert!(runs);
    // Where one line ends another may belong to it, and whether the last one runs is not known.
    let (without, runs) = told(include_bytes!("recorded/bash-prompts-unbracketed"));
    assert_eq!(without[..wanted.len()], wanted);
    assert_eq!(without[without.len() - 2], (command("(exit 3)"), Some(3)));
    assert!(!runs);
}
