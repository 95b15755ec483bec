//! Looking whether a provider can be used on a host: its program, what it says that it is, its variables, its test.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use outlast_client::{
    helper_v1::{
        ExecRequest, ExecStart, LookProgramRequest, exec_request::Event as Down, exec_response::Event as Up,
    },
    v1::{Error, ErrorKind},
};
use outlast_model::provider::Check;
use tokio_stream::wrappers::ReceiverStream;

use super::{Provider, install::environment};
use crate::{
    app::now_ms,
    hosts::{Host, exec},
    rpc::status::failure,
    sessions::answered,
};

/// How long one of its programs may take: they start slowly on a machine that is busy.
const RUN_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of output that are looked at.
const OUTPUT_MAX: usize = 16 << 10;

/// Longest line that is kept of it, in characters.
const LINE_MAX: usize = 200;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub step: &'static str,
    /// It is as it should be.
    pub ok: bool,
    /// What was found, or what is wrong.
    pub message: String,
    /// How long it took, where something was run.
    pub took: Option<Duration>,
}

/// Looks. That something is wrong is no error.
///
/// # Errors
/// When the host is away.
pub async fn check(
    host: &Host,
    provider: &Provider,
    base_env: HashMap<String, String>,
) -> Result<(Check, Vec<Step>), Error> {
    exec::reach(host).await?;
    let look = Look {
        host,
        provider,
        env: environment(host, base_env),
    };
    let mut steps = Vec::new();
    let mut check = Check {
        provider: provider.name.clone(),
        host: host.name().to_owned(),
        at: now_ms(),
        ..Check::default()
    };
    look.all(&mut check, &mut steps).await?;
    let wrong = steps.iter().find(|step| !step.ok);
    check.ok = wrong.is_none();
    check.problem = wrong.map(|step| step.message.clone());
    Ok((check, steps))
}

struct Look<'a> {
    host: &'a Host,
    provider: &'a Provider,
    env: HashMap<String, String>,
}

/// What a program came to.
struct Ran {
    took: Duration,
    /// The first line of what it wrote.
    line: String,
    /// Why it did not end well.
    problem: Option<String>,
}

impl Look<'_> {
    async fn all(&self, check: &mut Check, steps: &mut Vec<Step>) -> Result<(), Error> {
        let provider = self.provider;
        let request = LookProgramRequest {
            program: provider.binary.clone(),
            env: self.env.clone(),
            login: !self.host.is_local(),
            variables: provider.environment.iter().flatten().cloned().collect(),
            places: Vec::new(),
        };
        let seen = answered(self.host, self.host.client().look_program(request)).await?;
        let there = seen.path.is_some() || !seen.missing;
        let found = seen.path.clone();
        let problem = seen.problem.unwrap_or_default();
        steps.push(step(
            "binary",
            there,
            if there {
                found.clone().unwrap_or_else(|| provider.binary.clone())
            } else {
                problem.clone()
            },
        ));
        check.path = seen.path;
        if there {
            let message = if found.is_some() {
                "it can be run".to_owned()
            } else {
                problem
            };
            steps.push(step("executable", found.is_some(), message));
        }
        if found.is_some() && !provider.version_command.is_empty() {
            let ran = self.run(&provider.version_command).await?;
            if ran.problem.is_none() {
                check.version = Some(ran.line.clone());
            }
            if provider.test_command.is_empty() && ran.problem.is_none() {
                check.took_ms = Some(millis(ran.took));
            }
            steps.push(ran.step("version"));
        }
        for group in &provider.environment {
            let set: Vec<&str> = group
                .iter()
                .filter(|name| seen.set.contains(name))
                .map(String::as_str)
                .collect();
            let message = if set.is_empty() {
                format!("not set: {}", group.join(" or "))
            } else {
                format!("set: {}", set.join(", "))
            };
            steps.push(step("environment", !set.is_empty(), message));
        }
        if found.is_some() && !provider.test_command.is_empty() {
            let ran = self.run(&provider.test_command).await?;
            check.took_ms = ran.problem.is_none().then(|| millis(ran.took));
            let mut tested = ran.step("test");
            if tested.ok {
                tested.message = format!("{} ended well", provider.test_command.join(" "));
            }
            steps.push(tested);
        }
        Ok(())
    }

    /// Runs a program without input and looks how it ends.
    async fn run(&self, command: &[String]) -> Result<Ran, Error> {
        let began = Instant::now();
        let ran = tokio::time::timeout(RUN_WITHIN, self.to_the_end(command)).await;
        let took = began.elapsed();
        let (line, problem) = match ran {
            Ok(ran) => ran?,
            // With the stream it is ended.
            Err(_late) => (
                String::new(),
                Some(format!("did not end within {} s", RUN_WITHIN.as_secs())),
            ),
        };
        let said = |problem| format!("{}: {problem}", command.join(" "));
        Ok(Ran {
            took,
            line,
            problem: problem.map(said),
        })
    }

    /// The first line a program writes, and why it did not end well.
    async fn to_the_end(&self, command: &[String]) -> Result<(String, Option<String>), Error> {
        let start = ExecStart {
            command: command.to_vec(),
            env: self.env.clone(),
            login: !self.host.is_local(),
            ..ExecStart::default()
        };
        // Both fit, and the end of the queue is the end of its input.
        let (to_helper, requests) = tokio::sync::mpsc::channel(2);
        for event in [Down::Start(start), Down::StdinEof(true)] {
            let sent = to_helper.try_send(ExecRequest { event: Some(event) });
            sent.map_err(|_full| Error::new(ErrorKind::Failed, "a new queue is full"))?;
        }
        let mut client = self.host.client();
        let reports = client.exec(ReceiverStream::new(requests)).await;
        let mut reports = reports.map_err(failure)?.into_inner();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(report) = reports.message().await.map_err(failure)? {
            let (kept, bytes) = match report.event {
                Some(Up::Stdout(bytes)) => (&mut out, bytes),
                Some(Up::Stderr(bytes)) => (&mut err, bytes),
                Some(Up::Ended(outcome)) => {
                    let line = first_line(&out).or_else(|| first_line(&err)).unwrap_or_default();
                    let problem = match (outcome.reason, outcome.exit_code, outcome.signal) {
                        (Some(reason), ..) => Some(reason),
                        (None, Some(0), _) => None,
                        (None, code, signal) => {
                            let how = match (code, signal) {
                                (Some(code), _) => format!("ended with exit code {code}"),
                                (None, signal) => {
                                    format!("was ended by signal {}", signal.unwrap_or_default())
                                }
                            };
                            let why = first_line(&err).or_else(|| first_line(&out));
                            Some(why.map_or(how.clone(), |why| format!("{how}: {why}")))
                        }
                    };
                    return Ok((line, problem));
                }
                Some(Up::Started(_)) | None => continue,
            };
            let room = OUTPUT_MAX.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        Err(
            Error::new(ErrorKind::Unreachable, "the connection to the host broke")
                .with_hint(format!("outlast host check {}", self.host.name())),
        )
    }
}

impl Ran {
    fn step(&self, name: &'static str) -> Step {
        Step {
            took: Some(self.took),
            ..step(
                name,
                self.problem.is_none(),
                self.problem.clone().unwrap_or_else(|| self.line.clone()),
            )
        }
    }
}

fn step(step: &'static str, ok: bool, message: String) -> Step {
    Step {
        step,
        ok,
        message,
        took: None,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The first line with something on it, less what is not for reading.
fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let mut lines = text.lines().map(|line| {
        let plain = line.chars().filter(|c| !c.is_control()).take(LINE_MAX);
        plain.collect::<String>().trim().to_owned()
    });
    lines.find(|line| !line.is_empty())
}
