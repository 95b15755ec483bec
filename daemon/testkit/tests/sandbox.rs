//! The sandbox keeps its promises, tried with programs that every machine has.

use std::{fs, panic, time::Duration};

use outlast_testkit::{Gone, Process, Pty, Random, Sandbox, Terminal, run, wait_until};

/// A sandbox for tests of the sandbox: the product need not be built.
fn sandbox() -> Sandbox {
    Sandbox::with_programs("/nonexistent".into())
}

#[test]
fn programs_inside_see_only_the_sandbox() {
    let sandbox = sandbox();
    let seen = run(sandbox.command("env"), Duration::from_secs(10)).success();
    assert!(
        seen.out()
            .contains(&format!("HOME={}/home\n", sandbox.path().display())),
        "{seen}"
    );
    assert!(!seen.out().contains("CARGO"), "{seen}");
    assert!(!seen.out().contains("TMUX"), "{seen}");
}

#[test]
fn a_process_is_read_along_line_by_line() {
    let sandbox = sandbox();
    let mut command = sandbox.command("sh");
    command.args([
        "-c",
        "echo ready; echo oops >&2; read line; echo \"got $line\"; exit 3",
    ]);
    let mut process = Process::start_with_input(command);
    process.wait_line(|line| line == "ready");
    process.wait_error_line(|line| line == "oops");
    assert!(process.is_running());
    process.write(b"hello\n");
    assert_eq!(process.wait_line(|line| line.starts_with("got")), "got hello");
    let end = process.finish(Duration::from_secs(10)).code(3);
    assert_eq!(end.out(), "ready\ngot hello\n");
}

#[test]
fn what_is_left_is_ended_and_nothing_else() {
    let first = sandbox();
    let second = sandbox();
    // A daemon-like thing: of its own session, so that nothing but the search finds it.
    let start = |sandbox: &Sandbox| {
        let mut command = sandbox.command("sh");
        command.args(["-c", "setsid -f sleep 1000 </dev/null >/dev/null 2>&1"]);
        drop(run(command, Duration::from_secs(10)).success());
        let pid = wait_until(Duration::from_secs(10), "the sleeper", || {
            sandbox.processes().pop()
        });
        Gone::watch(pid).unwrap()
    };
    let (one, two) = (start(&first), start(&second));
    let path = first.path().to_owned();
    drop(first);
    assert!(one.within(Duration::ZERO));
    assert!(!two.within(Duration::ZERO));
    assert!(!path.exists());
}

#[test]
fn a_terminal_shows_what_was_typed_and_how_it_ended() {
    let sandbox = sandbox();
    let terminal = Terminal::open(
        &sandbox,
        "a",
        "sh",
        &["-c", "echo TMUX=[$TMUX]; read x; echo you said $x; exit 4;"],
    );
    terminal.wait_text("TMUX=[]");
    terminal.enter("hi there");
    terminal.wait_text("you said hi there");
    assert_eq!(terminal.wait_exit(), 4);
}

#[test]
fn a_pty_is_the_controlling_terminal_and_has_modes() {
    let sandbox = sandbox();
    let mut command = sandbox.command("sh");
    command.args([
        "-c",
        "tty </dev/tty && read x && stty -echo </dev/tty && echo raw && read x && stty echo && exit 5",
    ]);
    let mut pty = Pty::start(&command);
    let before = pty.modes();
    pty.write(b"\n");
    pty.wait_text("raw");
    assert_ne!(pty.modes().local_modes, before.local_modes);
    pty.write(b"\n");
    assert_eq!(pty.wait_exit(Duration::from_secs(10)).code(), Some(5));
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn waiting_in_vain_says_for_what() {
    let failed = panic::catch_unwind(|| wait_until(Duration::from_millis(20), "the moon", || None::<()>));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the moon"), "{message}");
}

#[test]
fn random_numbers_can_be_had_again() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        (random.uuid(), random.between(5, 9), random.fork().number())
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let (uuid, number, _) = draw(7);
    assert_eq!(uuid.len(), 36);
    assert!((5..9).contains(&number));
}

#[test]
fn a_lock_note_of_another_program_is_not_our_daemon() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.state_dir()).unwrap();
    let note = format!("{}\n/tmp/nobody.sock\n", std::process::id());
    fs::write(sandbox.state_dir().join("daemon.lock"), note).unwrap();
    assert_eq!(sandbox.daemon_pid(), None);
    assert_eq!(sandbox.kill_daemon(), None);
}

#[test]
fn what_a_killed_test_left_is_swept_by_the_next() {
    let abandoned = sandbox();
    let path = abandoned.path().to_owned();
    let mut command = abandoned.command("sleep");
    command.arg("1000");
    let sleeper = Process::start(command);
    assert!(path.exists() && sleeper.is_running());
    // No process has this number and start: its maker is gone.
    fs::write(path.join("made-by"), "4194305 1").unwrap();
    let next = sandbox();
    assert!(!path.exists());
    assert!(!sleeper.is_running());
    assert!(next.path().exists());
}
