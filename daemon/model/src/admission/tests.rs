use proptest::prelude::*;

use super::*;
use crate::{
    id::Id,
    job::{JobState, Outcome},
};

fn job(state: JobState) -> Job {
    Job {
        id: Id::random(),
        name: Some("build".parse().unwrap()),
        host: "local".to_owned(),
        cwd: None,
        command: vec!["true".to_owned()],
        state,
        created_at: 0,
        started_at: None,
        outcome: None,
        reason: None,
        timeout_ms: None,
        cancel_grace_ms: None,
    }
}

fn session(state: SessionState) -> Session {
    Session {
        id: Id::random(),
        name: "web".parse().unwrap(),
        host: "local".to_owned(),
        cwd: None,
        command: Vec::new(),
        restart_command: None,
        state,
        run: 1,
        created_at: 0,
        started_at: None,
        pid: None,
        outcome: None,
        reason: None,
        size: (80, 24),
        stop_grace_ms: None,
        deleting: false,
        activity: None,
        activity_seq: 0,
        template: None,
        provider: None,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn made(command: &[String], cwd: Option<&str>, env: &[(&str, &str)]) -> Result<(), Denied> {
    create_job(
        &Program {
            command,
            cwd,
            env: env.to_vec(),
        },
        None,
    )
}

#[test]
fn a_job_needs_a_program_that_can_be_passed_on() {
    let good = words(&["sh", "-c", "", "\u{1b}[2J é"]);
    assert_eq!(made(&good, Some("/a b/\n"), &[("A", ""), ("a b", "=\n")]), Ok(()));
    assert_eq!(made(&[], None, &[]), Err(Denied::NoCommand));
    assert_eq!(made(&words(&["", "a"]), None, &[]), Err(Denied::EmptyProgram));
    assert_eq!(
        made(&words(&["a", "b\0"]), None, &[]),
        Err(Denied::Nul(What::Argument(1)))
    );
    assert_eq!(
        made(&good, Some("a"), &[]),
        Err(Denied::RelativeDirectory("a".to_owned()))
    );
    assert_eq!(
        made(&good, Some(""), &[]),
        Err(Denied::RelativeDirectory(String::new()))
    );
    assert_eq!(made(&good, Some("/\0"), &[]), Err(Denied::Nul(What::Directory)));
    assert_eq!(
        made(&good, Some(&"/".repeat(4096)), &[]),
        Err(Denied::LongDirectory(4096))
    );
    for bad in ["", "A=B", "=", "A\0"] {
        assert_eq!(
            made(&good, None, &[(bad, "x")]),
            Err(Denied::BadVariable(bad.to_owned()))
        );
    }
    assert_eq!(
        made(&good, None, &[("A", "\0")]),
        Err(Denied::Nul(What::Variable("A".to_owned())))
    );
}

#[test]
fn sizes_are_bounded_each_and_together() {
    let longest = "x".repeat(STRING_MAX_BYTES);
    assert_eq!(made(&words(&["a", &longest]), None, &[]), Ok(()));
    let longer = "x".repeat(STRING_MAX_BYTES + 1);
    let denied = made(&words(&["a", &longer]), None, &[]);
    assert_eq!(
        denied,
        Err(Denied::LongString(What::Argument(1), STRING_MAX_BYTES + 1))
    );
    let denied = made(&words(&["a"]), None, &[("A", &longest)]);
    assert_eq!(
        denied,
        Err(Denied::LongString(
            What::Variable("A".to_owned()),
            STRING_MAX_BYTES + 2
        ))
    );
    // Eleven full strings of 128 KiB with their NUL, and one that fills up to the limit with its own.
    let mut all = vec![longest; 11];
    all.push("x".repeat(PROGRAM_MAX_BYTES - 11 * (STRING_MAX_BYTES + 1) - 1));
    assert_eq!(made(&all, None, &[]), Ok(()));
    assert_eq!(
        made(&all, None, &[("A", "")]),
        Err(Denied::TooMuch(PROGRAM_MAX_BYTES + 3))
    );
}

#[test]
fn time_limits_sizes_and_restart_commands() {
    let command = words(&["a"]);
    let program = Program {
        command: &command,
        ..Program::default()
    };
    assert_eq!(create_job(&program, Some(0)), Err(Denied::NoTime));
    assert_eq!(create_job(&program, Some(1)), Ok(()));
    assert_eq!(
        create_job(&program, Some(u64::MAX)),
        Err(Denied::LongTime(u64::MAX))
    );
    let shell = Program::default();
    assert_eq!(create_session(&shell, None, None), Ok((80, 24)));
    assert_eq!(
        create_session(&shell, Some("x"), Some((1, 10_000))),
        Ok((1, 10_000))
    );
    assert_eq!(
        create_session(&shell, Some(""), None),
        Err(Denied::EmptyRestartCommand)
    );
    assert_eq!(
        create_session(&shell, Some("\0"), None),
        Err(Denied::Nul(What::RestartCommand))
    );
    for size in [(0, 1), (1, 0), (10_001, 1), (1, u32::MAX), (65_537, 1)] {
        assert_eq!(
            create_session(&shell, None, Some(size)),
            Err(Denied::BadSize(size.0, size.1))
        );
    }
    assert_eq!(create_session(&program, None, None), Ok((80, 24)));
}

#[test]
fn a_wish_to_end_is_only_ever_shortened() {
    let mut job = job(JobState::Running);
    assert_eq!(cancel(&job, 10), Ending::Accept { grace_ms: 10 });
    job.cancel_grace_ms = Some(10);
    assert_eq!(cancel(&job, 10), Ending::AlreadyAsked);
    assert_eq!(cancel(&job, 11), Ending::AlreadyAsked);
    assert_eq!(cancel(&job, 9), Ending::Accept { grace_ms: 9 });
    assert_eq!(cancel(&job, 0), Ending::Accept { grace_ms: 0 });
    job.state = JobState::Cancelled;
    assert_eq!(cancel(&job, 0), Ending::AlreadyEnded);
    assert_eq!(
        stop(&session(SessionState::Creating), u64::MAX),
        Ending::Accept {
            grace_ms: DURATION_MAX_MS
        }
    );
    assert_eq!(stop(&session(SessionState::Lost), 1), Ending::AlreadyEnded);
}

#[test]
fn refusals_say_the_state_and_what_helps() {
    let said = |denied: Denied| {
        (
            denied.to_string(),
            denied.hint().unwrap_or_default(),
            denied.kind(),
        )
    };
    let (message, hint, kind) = said(prune(&job(JobState::Running)).unwrap_err());
    assert_eq!(message, "job build is running; only an ended job can be removed");
    assert_eq!(
        hint,
        "outlast job wait build waits for its end; outlast job cancel build ends it"
    );
    assert_eq!(kind, DeniedKind::WrongState);
    let (message, _, _) = said(retry(&job(JobState::Queued)).unwrap_err());
    assert_eq!(message, "job build is queued; only an ended job can be retried");

    let (message, hint, _) = said(reach(&session(SessionState::Exited), Verb::Attach).unwrap_err());
    assert_eq!(message, "session web has exited; it cannot be attached");
    assert!(
        hint.contains("session restart web") && hint.contains("session peek web"),
        "{hint}"
    );
    let (_, hint, _) = said(reach(&session(SessionState::Lost), Verb::Send).unwrap_err());
    assert!(hint.contains("session recover web"), "{hint}");

    let (message, hint, _) = said(delete(&session(SessionState::Running), false).unwrap_err());
    assert_eq!(message, "session web is running; its program would be ended");
    assert_eq!(hint, "outlast session delete web --force does it");
    let (_, hint, _) = said(restart(&session(SessionState::Running), false).unwrap_err());
    assert_eq!(hint, "outlast session restart web --force does it");
    let (message, hint, _) = said(recover(&session(SessionState::Exited)).unwrap_err());
    assert_eq!(
        message,
        "session web has exited; only a lost session can be recovered"
    );
    assert_eq!(hint, "outlast session restart web starts it again");

    let gone = Session {
        deleting: true,
        ..session(SessionState::Running)
    };
    for denied in [reach(&gone, Verb::Send), restart(&gone, true), recover(&gone)] {
        assert_eq!(
            denied,
            Err(Denied::Deleting {
                session: "web".to_owned()
            })
        );
    }
    assert_eq!(delete(&gone, false), Ok(Removal::AlreadyAsked));
}

#[test]
fn every_state_has_its_answer() {
    for state in SessionState::ALL {
        let session = session(state);
        let over = state.is_ended() || state == SessionState::Broken;
        assert_eq!(restart(&session, false).is_ok(), over, "{state}");
        assert_eq!(delete(&session, false).is_ok(), over, "{state}");
        assert_eq!(restart(&session, true), Ok(()), "{state}");
        assert_eq!(delete(&session, true), Ok(Removal::Accept), "{state}");
        assert_eq!(recover(&session).is_ok(), state == SessionState::Lost, "{state}");
        assert_eq!(
            reach(&session, Verb::Send).is_ok(),
            state == SessionState::Running,
            "{state}"
        );
        assert_eq!(
            stop(&session, 5) == Ending::AlreadyEnded,
            state.is_ended(),
            "{state}"
        );
    }
    for state in JobState::ALL {
        let job = job(state);
        assert_eq!(prune(&job).is_ok(), state.is_ended(), "{state}");
        assert_eq!(retry(&job).is_ok(), state.is_ended(), "{state}");
        assert_eq!(
            cancel(&job, 5) == Ending::AlreadyEnded,
            state.is_ended(),
            "{state}"
        );
    }
}

/// What users ask for, and what happens on the host, in any order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Restart { force: bool },
    Recover,
    Stop { grace_ms: u64 },
    Delete { force: bool },
    Reach,
    // What the driver sees and does.
    Start,
    EndOld,
    Ends(Option<&'static str>),
    Rebooted,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|force| Step::Restart { force }),
        2 => Just(Step::Recover),
        2 => (0_u64..5).prop_map(|grace_ms| Step::Stop { grace_ms }),
        1 => any::<bool>().prop_map(|force| Step::Delete { force }),
        2 => Just(Step::Reach),
        6 => Just(Step::Start),
        4 => Just(Step::EndOld),
        4 => prop::sample::select(vec![None, Some("stopped"), Some("hangup")]).prop_map(Step::Ends),
        2 => Just(Step::Rebooted),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// A session, its program on the host (by its run), and any sequence of steps: what admission lets through never
    /// makes two programs at once and never brings an ended run back.
    #[test]
    fn no_sequence_makes_two_runs_or_revives_one(steps in steps()) {
        let mut stored = session(SessionState::Creating);
        let mut program: Option<u32> = None;
        for step in steps {
            let before = stored.clone();
            let mut begun = false;
            match step {
                Step::Restart { force } => if restart(&stored, force).is_ok() {
                    prop_assert!(force || program.is_none(), "only force ends what runs");
                    stored = stored.next_run();
                    begun = true;
                },
                Step::Recover => if recover(&stored).is_ok() {
                    prop_assert_eq!(program, None, "lost means that nothing runs");
                    stored = stored.next_run();
                    begun = true;
                },
                Step::Stop { grace_ms } => if let Ending::Accept { grace_ms } = stop(&stored, grace_ms) {
                    stored.stop_grace_ms = Some(grace_ms);
                },
                Step::Delete { force } => if delete(&stored, force) == Ok(Removal::Accept) {
                    prop_assert!(force || program.is_none(), "only force ends what runs");
                    stored.deleting = true;
                },
                Step::Reach => if reach(&stored, Verb::Send).is_ok() {
                    prop_assert_eq!(program, Some(stored.run), "what is typed has a reader");
                },
                Step::Start => if stored.state == SessionState::Creating && program.is_none() {
                    program = Some(stored.run);
                    stored.state = SessionState::Running;
                },
                // A driver ends a program of an earlier run before it starts the present one.
                Step::EndOld => if program.is_some_and(|run| run < stored.run) {
                    program = None;
                },
                Step::Ends(reason) => if program == Some(stored.run) {
                    program = None;
                    let reason = reason.map(str::to_owned);
                    let outcome = Outcome { reason, ..Outcome::default() };
                    stored.state = SessionState::after(&outcome);
                    stored.outcome = Some(outcome);
                },
                Step::Rebooted => {
                    program = None;
                    if stored.state == SessionState::Running {
                        stored.state = SessionState::Lost;
                    }
                }
            }
            prop_assert!(before.can_become(&stored), "{:?}: {:?} to {:?}", step, before, stored);
            prop_assert_eq!(begun, stored.run > before.run);
            if before.state.is_ended() && !begun {
                prop_assert_eq!(stored.state, before.state, "an ended run stays as it ended");
            }
            if let (Some(now), Some(then), false) = (stored.stop_grace_ms, before.stop_grace_ms, begun) {
                prop_assert!(now <= then, "a grace is only shortened");
            }
            if before.deleting {
                prop_assert!(stored.deleting && !begun, "what is being deleted does not come back");
            }
        }
    }

    /// Nothing a user can send makes a check panic, and what passes can be given to a program.
    #[test]
    fn any_program_is_judged(
        command in prop::collection::vec(any::<String>(), 0..6),
        cwd in prop::option::of(any::<String>()),
        env in prop::collection::vec((any::<String>(), any::<String>()), 0..6),
        timeout in prop::option::of(any::<u64>()),
    ) {
        let env: Vec<_> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let program = Program { command: &command, cwd: cwd.as_deref(), env: env.clone() };
        match create_job(&program, timeout) {
            Ok(()) => {
                prop_assert!(!command.is_empty() && !command[0].is_empty());
                prop_assert!(command.iter().all(|word| !word.contains('\0')));
                prop_assert!(cwd.is_none_or(|cwd| cwd.starts_with('/') && !cwd.contains('\0')));
                prop_assert!(env.iter().all(|(key, _)| !key.is_empty() && !key.contains(['=', '\0'])));
                prop_assert!(env.iter().all(|(_, value)| !value.contains('\0')));
                prop_assert!(timeout != Some(0));
            }
            Err(denied) => {
                prop_assert_eq!(denied.kind(), DeniedKind::Usage);
                prop_assert!(!denied.to_string().contains('\0'), "a message can be shown");
            }
        }
    }
}
