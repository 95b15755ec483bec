//! Followers come back after every kind of break, at the very byte.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use fake::{Fake, Script, finish, job, session};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{
    self, Error, ErrorKind, JobState, LogStream, SessionState, read_job_log_request::Start,
    read_job_log_response::Event, wait_session_response,
};
use tonic::Status;

const ID: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";

/// A small generator: tests repeat exactly by their seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// What the job wrote: stdout and stderr in pieces, no text in particular.
fn log(seed: &mut Seeded) -> Vec<(LogStream, Vec<u8>)> {
    (0..40)
        .map(|_| {
            let stream = [LogStream::Stdout, LogStream::Stderr][seed.below(2)];
            let bytes = (0..1 + seed.below(5000))
                .map(|_| u8::try_from(seed.below(256)).unwrap())
                .collect();
            (stream, bytes)
        })
        .collect()
}

fn of(log: &[(LogStream, Vec<u8>)], wanted: LogStream) -> Vec<u8> {
    log.iter()
        .filter(|(stream, _)| *stream == wanted)
        .flat_map(|(_, bytes)| bytes.clone())
        .collect()
}

fn message(event: Event) -> Result<v1::ReadJobLogResponse, Status> {
    Ok(v1::ReadJobLogResponse { event: Some(event) })
}

fn ended(code: i32) -> v1::Job {
    v1::Job {
        exit_code: Some(code),
        ..job(ID, None, JobState::Failed)
    }
}

/// The chunks from an offset on, cut anew at every call.
fn chunks(log: &[(LogStream, Vec<u8>)], from: u64) -> Vec<Result<v1::ReadJobLogResponse, Status>> {
    let mut at = 0_u64;
    let mut sent = Vec::new();
    for (stream, bytes) in log {
        let end = at + bytes.len() as u64;
        if end > from {
            let skipped = usize::try_from(from.saturating_sub(at)).unwrap();
            sent.push(message(Event::Chunk(v1::LogChunk {
                offset: at + skipped as u64,
                stream: (*stream).into(),
                time: None,
                data: bytes[skipped..].to_vec().into(),
            })));
        }
        at = end;
    }
    sent
}

fn follow_with_cuts(seed: u64) {
    let mut random = Seeded(seed);
    let log = log(&mut random);
    let (out, err) = (of(&log, LogStream::Stdout), of(&log, LogStream::Stderr));
    let total = (out.len() + err.len()) as u64;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let fake = Fake::start(Script {
        create_job: Some(Box::new(|_| {
            Ok(v1::CreateJobResponse {
                job: Some(job(ID, None, JobState::Queued)),
            })
        })),
        job_log: Some(Box::new(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let Some(Start::Offset(asked)) = request.start else {
                panic!("{request:?}")
            };
            assert_eq!(request.job, ID);
            // A daemon may begin earlier than it was asked to.
            let from = asked.saturating_sub(random.below(100) as u64);
            let mut sent = chunks(&log, from);
            let all = sent.len();
            let cut = random.below(8);
            sent.truncate(cut);
            sent.insert(0, message(Event::Job(job(ID, None, JobState::Running))));
            if cut >= all {
                sent.push(message(Event::End(v1::JobLogEnd {
                    next_offset: total,
                    job: Some(ended(7)),
                })));
            } else {
                match random.below(4) {
                    0 => {}
                    1 => sent.push(Err(Status::unavailable("cut"))),
                    2 => sent.push(Err(Status::unknown("transport error"))),
                    _ => sent.push(Err(Error::new(ErrorKind::Restarting, "restarting").into_status())),
                }
            }
            stream::iter(sent).boxed()
        })),
        ..Script::default()
    });
    let mut command = fake.command(&["run", "--quiet", "--no-start", "x"]);
    command.args(["y"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // stderr is the job's bytes here, no text.
    let output = child.wait_with_output().unwrap();
    assert!(calls.load(Ordering::Relaxed) > 3, "seed {seed}: it was never cut");
    assert_eq!(
        output.status.code(),
        Some(7),
        "seed {seed}: {:?}",
        output.status.signal()
    );
    assert!(output.stdout == out, "seed {seed}: stdout differs");
    assert!(output.stderr == err, "seed {seed}: stderr differs");
}

#[test]
fn a_follower_has_every_byte_once_however_often_it_is_cut() {
    for seed in 1..=12 {
        follow_with_cuts(seed);
    }
}

#[test]
fn an_announced_stop_ends_with_7_and_the_command_to_resume() {
    let fake = Fake::start(Script {
        jobs: [(ID.to_owned(), job(ID, None, JobState::Running))].into(),
        job_log: Some(Box::new(|_| {
            let log = vec![(LogStream::Stdout, b"half".to_vec())];
            let mut sent = chunks(&log, 0);
            sent.push(Err(
                Error::new(ErrorKind::Stopping, "outlastd is stopping").into_status()
            ));
            stream::iter(sent).boxed()
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["job", "logs", "-f", ID]);
    assert_eq!((ran.code, ran.text().as_str()), (7, "half"));
    assert_eq!(
        ran.err,
        "error: outlastd is stopping\nhint: outlast logs -f 0d6af9a8 --from 4\n"
    );
}

/// A job that is followed for ever.
fn endless() -> Script {
    Script {
        jobs: [(ID.to_owned(), job(ID, None, JobState::Running))].into(),
        create_job: Some(Box::new(|_| {
            Ok(v1::CreateJobResponse {
                job: Some(job(ID, Some("long"), JobState::Queued)),
            })
        })),
        job_log: Some(Box::new(|_| {
            let first = chunks(&[(LogStream::Stdout, b"begun\n".to_vec())], 0);
            stream::iter(first).chain(stream::pending()).boxed()
        })),
        ..Script::default()
    }
}

/// Starts `run`, waits until it follows, and presses Ctrl-C.
fn interrupted(fake: &Fake, args: &[&str]) -> fake::Ran {
    use std::io::Read as _;
    let mut child = fake
        .command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    finish(child)
}

#[test]
fn ctrl_c_leaves_and_the_last_line_says_how_to_come_back() {
    let fake = Fake::start(endless());
    let ran = interrupted(&fake, &["run", "--no-start", "sleep"]);
    assert_eq!(ran.code, 130);
    assert_eq!(
        ran.err,
        "job 0d6af9a8 (long), come back with: outlast logs -f long\n\
         job 0d6af9a8 (long) still runs; come back with: outlast logs -f long\n"
    );
}

#[test]
fn ctrl_c_cancels_when_that_was_asked_for() {
    let mut script = endless();
    let cancelled = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&cancelled);
    script.cancel_job = Some(Box::new(move |request| {
        assert_eq!(request.job, ID);
        *cancelled.lock().unwrap() = true;
        Ok(v1::CancelJobResponse {
            job: Some(job(ID, None, JobState::Running)),
            already_ended: false,
        })
    }));
    script.job_log = Some(Box::new(move |_| {
        let first = chunks(&[(LogStream::Stdout, b"begun\n".to_vec())], 0);
        if *seen.lock().unwrap() {
            let end = v1::Job {
                signal: Some(15),
                ..job(ID, None, JobState::Cancelled)
            };
            let end = message(Event::End(v1::JobLogEnd {
                next_offset: 6,
                job: Some(end),
            }));
            stream::iter(first).chain(stream::iter([end])).boxed()
        } else {
            stream::iter(first).chain(stream::pending()).boxed()
        }
    }));
    let fake = Fake::start(script);
    let ran = interrupted(&fake, &["run", "--cancel-on-interrupt", "--no-start", "sleep"]);
    assert_eq!(ran.code, 143, "{ran:?}");
    assert!(
        ran.err.ends_with("job 0d6af9a8 was cancelled by SIGTERM\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_timeout_gives_up_with_124_and_says_that_the_job_goes_on() {
    let fake = Fake::start(endless());
    let ran = fake.outlast(&["job", "wait", ID, "--timeout", "50ms"]);
    assert_eq!(ran.code, 124);
    assert_eq!(
        ran.err,
        "error: the time ran out; job 0d6af9a8 goes on\nhint: outlast job wait 0d6af9a8\n"
    );
    let ran = fake.outlast(&["logs", "-f", ID, "--timeout", "200ms"]);
    assert_eq!((ran.code, ran.text().as_str()), (124, "begun\n"));
}

#[test]
fn nobody_reading_stdout_ends_it_quietly() {
    let mut script = endless();
    script.job_log = Some(Box::new(|_| {
        let piece = (LogStream::Stdout, vec![b'y'; 100_000]);
        stream::iter(chunks(&vec![piece; 100], 0))
            .chain(stream::pending())
            .boxed()
    }));
    let fake = Fake::start(script);
    let mut child = fake
        .command(&["run", "--quiet", "--no-start", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = finish(child);
    assert_eq!((ran.code, ran.err.as_str()), (141, ""));
}

#[test]
fn events_go_on_after_the_last_position_of_their_epoch() {
    let calls = Arc::new(AtomicU32::new(0));
    let fake = Fake::start(Script {
        events: Some(Box::new(move |request| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            let event = |seq: u64| {
                Ok(v1::ReadEventsResponse {
                    event: Some(v1::Event {
                        epoch: "e".to_owned(),
                        seq,
                        time: None,
                        kind: "job.state".to_owned(),
                        subject: ID.to_owned(),
                        data_json: "{\"state\":\"running\"}".to_owned(),
                    }),
                    position: seq,
                    epoch: "e".to_owned(),
                })
            };
            match call {
                0 => {
                    assert_eq!(request.after, None);
                    stream::iter([event(1), event(2)]).boxed()
                }
                1 => {
                    assert_eq!((request.after, request.epoch.as_deref()), (Some(2), Some("e")));
                    stream::iter([event(3), Err(Status::unavailable("cut"))]).boxed()
                }
                _ => {
                    assert_eq!(request.after, Some(3));
                    let stop = Error::new(ErrorKind::Stopping, "outlastd is stopping").into_status();
                    stream::iter([event(4), Err(stop)]).boxed()
                }
            }
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["events", "--follow", "--json"]);
    assert_eq!(ran.code, 7);
    let seqs: Vec<u64> = ran
        .text()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert!(
        ran.err.contains("outlast events --follow --after 4 --epoch e"),
        "{}",
        ran.err
    );
}

#[test]
fn waiting_for_output_goes_on_from_where_it_was_armed() {
    let fake = Fake::start(Script {
        sessions: [("web".to_owned(), session(ID, "web", SessionState::Running))].into(),
        wait_session: Some(Box::new(|request| {
            let event = |event| Ok(v1::WaitSessionResponse { event: Some(event) });
            if request.from_offset.is_none() {
                assert_eq!(request.r#match.as_deref(), Some("rea.y"));
                stream::iter([event(wait_session_response::Event::ArmedOffset(42))]).boxed()
            } else {
                assert_eq!(request.from_offset, Some(42));
                let done = v1::SessionWaitDone {
                    session: Some(session(ID, "web", SessionState::Running)),
                    met: true,
                    line: Some("ready\u{1b}[31m".to_owned()),
                    next_offset: 50,
                };
                stream::iter([event(wait_session_response::Event::Done(done))]).boxed()
            }
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["session", "wait", "web", "--until", "output", "--match", "rea.y"]);
    assert_eq!(
        (ran.code, ran.text().as_str(), ran.err.as_str()),
        (0, "ready\\e[31m\n", "")
    );
}
