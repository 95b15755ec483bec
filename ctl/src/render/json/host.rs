//! The JSON of what is done with hosts: checks, programs, forwarded ports.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use outlast_client::v1;
use serde::Serialize;

use super::{Host, link, stream};

/// One check of a host, with its steps in their order.
#[derive(Serialize)]
pub struct Check<'a> {
    name: &'a str,
    ok: bool,
    steps: Vec<Step<'a>>,
    host: Option<Host<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    step: &'a str,
    ok: bool,
    took_ms: Option<f64>,
    message: &'a str,
}

impl<'a> Check<'a> {
    pub fn new(name: &'a str, ok: bool, steps: &'a [v1::CheckStep], host: Option<&'a v1::Host>) -> Self {
        Self {
            name,
            ok,
            steps: steps
                .iter()
                .map(|step| Step {
                    step: &step.step,
                    ok: step.ok,
                    took_ms: took_ms(step),
                    message: &step.message,
                })
                .collect(),
            host: host.map(Host::from),
        }
    }
}

/// How long a step took, in milliseconds to the thousandth.
pub fn took_ms(step: &v1::CheckStep) -> Option<f64> {
    let took = std::time::Duration::try_from(step.took?).ok()?;
    Some((took.as_secs_f64() * 1e6).round() / 1e3)
}

/// What was forgotten with a host.
#[derive(Serialize)]
pub struct Removed<'a> {
    name: &'a str,
    live_jobs: u32,
    jobs: u32,
    live_sessions: u32,
    sessions: u32,
    syncs: u32,
}

impl<'a> Removed<'a> {
    pub fn new(name: &'a str, gone: &v1::RemoveHostResponse) -> Self {
        Self {
            name,
            live_jobs: gone.live_jobs,
            jobs: gone.jobs,
            live_sessions: gone.live_sessions,
            sessions: gone.sessions,
            syncs: gone.syncs,
        }
    }
}

/// Output of a program on a host. Bytes that are no text stand in `data_base64` instead of `data`.
#[derive(Serialize)]
pub struct ExecLine<'a> {
    kind: &'static str,
    stream: Option<String>,
    data: Option<&'a str>,
    data_base64: Option<String>,
}

impl<'a> ExecLine<'a> {
    pub fn new(from: v1::LogStream, bytes: &'a [u8]) -> Self {
        let data = std::str::from_utf8(bytes).ok();
        Self {
            kind: "output",
            stream: stream(from),
            data,
            data_base64: data.is_none().then(|| STANDARD.encode(bytes)),
        }
    }
}

/// The end of a program on a host.
#[derive(Serialize)]
pub struct ExecEnd<'a> {
    kind: &'static str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    reason: Option<&'a str>,
}

impl<'a> From<&'a v1::ExecEnded> for ExecEnd<'a> {
    fn from(ended: &'a v1::ExecEnded) -> Self {
        Self {
            kind: "end",
            exit_code: ended.exit_code,
            signal: ended.signal,
            reason: ended.reason.as_deref(),
        }
    }
}

/// A forwarded port listens.
#[derive(Serialize)]
pub struct Listening<'a> {
    kind: &'static str,
    host: &'a str,
    local_address: &'a str,
    local_port: u32,
    remote_address: Option<&'a str>,
    remote_port: u32,
}

impl<'a> Listening<'a> {
    pub fn new(wanted: &'a v1::ForwardHostRequest, at: &'a v1::ForwardListening) -> Self {
        Self {
            kind: "listening",
            host: &wanted.host,
            local_address: &at.address,
            local_port: at.port,
            remote_address: wanted.remote_address.as_deref(),
            remote_port: wanted.remote_port,
        }
    }
}

/// The link of the host of a forwarded port changed.
#[derive(Serialize)]
pub struct LinkLine<'a> {
    kind: &'static str,
    host: &'a str,
    link: Option<String>,
    error: Option<&'a str>,
}

impl<'a> LinkLine<'a> {
    pub fn new(host: &'a str, now: &'a v1::LinkChange) -> Self {
        Self {
            kind: "link",
            host,
            link: link(now.link()),
            error: now.error.as_deref(),
        }
    }
}

/// A connection could not be forwarded.
#[derive(Serialize)]
pub struct Problem<'a> {
    kind: &'static str,
    host: &'a str,
    message: &'a str,
}

impl<'a> Problem<'a> {
    pub fn new(host: &'a str, message: &'a str) -> Self {
        Self {
            kind: "problem",
            host,
            message,
        }
    }
}
