//! `outlast-helper report STATE [MESSAGE… | --message TEXT | --message-json POINTER]`: what a hook of a program calls.
//!
//! Hooks run in the middle of other programs' work, wherever those are started. So this does nothing where there is no
//! session, prints nothing when it worked, and never waits for long.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
    stdio::stdin,
};
use serde_json::Value;

use super::{DIR_VARIABLE, REPORTS_VARIABLE, inside::is_inside};
use crate::{plain, spool::Doing};

/// How long standard input may take to end. Hooks are given a document that is there already.
const INPUT_WITHIN: Duration = Duration::from_secs(2);

/// The longest document that is read, bytes.
const INPUT_MAX: usize = 1 << 20;

/// How long the FIFO may be full. The pane empties it at once unless the machine is in trouble.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// What to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    state: String,
    message: Message,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    None,
    Text(Vec<u8>),
    /// Where it stands in the document on standard input.
    Pointer(String),
}

impl Report {
    /// Reads the arguments. None: they are wrong.
    #[must_use]
    pub fn parse(args: &[&OsStr]) -> Option<Self> {
        let (state, rest) = args.split_first()?;
        let state = state.to_str()?.to_owned();
        let _: Doing = state.parse().ok()?;
        let message = match rest {
            [] => Message::None,
            [option, text] if *option == "--message" => Message::Text(text.as_encoded_bytes().to_vec()),
            [option, pointer] if *option == "--message-json" => {
                let pointer = pointer.to_str()?.to_owned();
                (pointer.is_empty() || pointer.starts_with('/')).then_some(Message::Pointer(pointer))?
            }
            // As it is written to the FIFO.
            words
                if words
                    .iter()
                    .all(|word| !word.as_encoded_bytes().starts_with(b"-")) =>
            {
                let words: Vec<_> = words.iter().map(|word| word.as_encoded_bytes()).collect();
                Message::Text(words.join(&b' '))
            }
            _ => return None,
        };
        Some(Self { state, message })
    }

    /// Of arguments that are wrong: the word that should be a state and is none.
    #[must_use]
    pub fn unknown_state(args: &[&OsStr]) -> Option<String> {
        let word = args.first()?.to_string_lossy();
        let known = word.parse::<Doing>().is_ok() || word.starts_with('-');
        (!known).then(|| plain::line(word.as_bytes()))
    }

    fn line(&self) -> String {
        let message = match &self.message {
            Message::None => String::new(),
            Message::Text(text) => plain::line(text),
            Message::Pointer(pointer) => from_json(&input(), pointer),
        };
        let blank = if message.is_empty() { "" } else { " " };
        format!("{}{blank}{message}\n", self.state)
    }
}

/// Tells the session this runs in. Outside of one, in something that only was started from one, or when nobody listens
/// there any more, it does nothing.
///
/// # Errors
/// When somebody listens and cannot be told.
pub fn report(report: &Report) -> io::Result<()> {
    let inside = env::var_os(DIR_VARIABLE).is_none_or(|dir| is_inside(Path::new(&dir)));
    match env::var_os(REPORTS_VARIABLE).filter(|path| inside && !path.is_empty()) {
        Some(path) => send(Path::new(&path), report.line().as_bytes()),
        None => Ok(()),
    }
}

fn send(path: &Path, line: &[u8]) -> io::Result<()> {
    let opened = File::options()
        .append(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path);
    let mut fifo = match opened {
        Ok(fifo) => fifo,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(()),
        Err(error) => return Err(error),
    };
    let until = Instant::now() + ROOM_WITHIN;
    loop {
        // A line is shorter than what a FIFO takes whole or not at all.
        match fifo.write(line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => return other.map(drop),
        }
        if !is_ready(&fifo, PollFlags::OUT, until) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the session takes no reports",
            ));
        }
    }
}

/// What is on standard input. What comes too late or is too much is not read.
fn input() -> Vec<u8> {
    let mut document = Vec::new();
    if io::stdin().is_terminal() {
        return document;
    }
    let until = Instant::now() + INPUT_WITHIN;
    let mut buffer = [0; 16 << 10];
    while document.len() < INPUT_MAX && is_ready(stdin(), PollFlags::IN, until) {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(got @ 1..) => document.extend_from_slice(&buffer[..got]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => break,
        }
    }
    document
}

/// The string at this place of a JSON document; empty: there is none.
fn from_json(document: &[u8], pointer: &str) -> String {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let text = document.pointer(pointer).and_then(Value::as_str);
    plain::line(text.unwrap_or_default().as_bytes())
}

/// Waits until something can be read or written, at most until then.
fn is_ready(file: impl AsFd, wanted: PollFlags, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or_default();
    let fd = file.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<Report> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        Report::parse(&args)
    }

    #[test]
    fn a_word_that_is_no_state_is_named() {
        let word = |args: &[&str]| {
            let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            Report::unknown_state(&args)
        };
        assert_eq!(word(&["busy", "x"]).as_deref(), Some("busy"));
        assert_eq!(word(&["bu\x1b\nsy"]).as_deref(), Some("bu sy"));
        assert_eq!(
            (word(&[]), word(&["waiting", "--such"]), word(&["--help"])),
            (None, None, None)
        );
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(parse(&["idle"]).unwrap().line(), "idle\n");
        let message = parse(&["waiting", "--message", "a\nb \x1b[m"]).unwrap();
        assert_eq!(message.line(), "waiting a b [m\n");
        assert_eq!(
            parse(&["waiting", "Go", "on?"]).unwrap().line(),
            "waiting Go on?\n"
        );
        assert!(parse(&["error", "--message-json", "/a/b"]).is_some());
        for wrong in [
            &[][..],
            &["busy"],
            &["idle", "x", "-y"],
            &["idle", "--message"],
            &["idle", "--message-json", "a"],
            &["idle", "--message", "a", "--message", "b"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_message_is_found_in_a_document() {
        let document = br#"{"message":"Allow\nrm?","tool":{"name":"Bash","n":1}}"#;
        assert_eq!(from_json(document, "/message"), "Allow rm?");
        assert_eq!(from_json(document, "/tool/name"), "Bash");
        for none in ["/tool/n", "/tool", "/none", ""] {
            assert_eq!(from_json(document, none), "", "{none}");
        }
        assert_eq!(from_json(b"{\"message\":\"cut", "/message"), "");
    }

    #[test]
    fn nobody_who_listens_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("reports");
        send(&fifo, b"idle\n").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        send(&fifo, b"idle\n").unwrap();
    }
}
