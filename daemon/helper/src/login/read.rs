//! Runs the login shell and takes the environment from what it prints.
//!
//! The shell is told that it is a login shell by its name (`-zsh`), which all shells know, and by `-l`, without which some
//! builds of bash read no start files for `-c`; a shell that knows no `-l` (csh) ends at once and is tried without. What
//! it is to do is two words that every shell takes alike.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, Command},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer;
use crate::{
    installed,
    program::{self, Environment},
    spool::Family,
    sys,
};

/// How long start files may take. Slow ones on a slow disk take a few seconds; beyond this they wait for something that
/// never comes.
const WITHIN: Duration = Duration::from_secs(10);

/// How much may be printed. The kernel takes no more than 6 MiB of variables by default; the rest is for noise.
const SAID_MAX: usize = 8 << 20;

/// How long what a shell printed may still be under way when it has ended.
const LATE: Duration = Duration::from_secs(1);

/// Bytes read at once: a whole pipe.
const CHUNK: usize = 64 << 10;

/// How much of its last words is kept.
const WORDS: usize = 400;

/// Holds the path of the helper where that cannot be written on a line for any shell.
const HELPER_VARIABLE: &str = "OUTLAST_HELPER";

/// Everything that is needed to read the login environment.
#[derive(Debug)]
pub(super) struct Question {
    /// The login shell.
    pub(super) shell: PathBuf,
    /// The program that prints its environment.
    pub(super) helper_program: PathBuf,
    /// What the shell begins with.
    pub(super) env: Environment,
    /// Cancelled when nobody wants to know any more.
    pub(super) leaving: CancellationToken,
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// Why it could not be read, one sentence.
    pub(super) async fn ask(&self) -> Result<Environment, String> {
        if let Err(error) = installed::put_back(&self.helper_program).await {
            tracing::warn!(%error, "putting the helper back");
        }
        let until = Instant::now() + WITHIN;
        match self.try_with(&["-l", "-c"], until).await {
            Err(Failed::Ended(_)) => {}
            other => return other.map_err(|failed| self.sentence(&failed)),
        }
        let tried = self.try_with(&["-c"], until).await;
        tried.map_err(|failed| self.sentence(&failed))
    }

    async fn try_with(&self, options: &[&str], until: Instant) -> Result<Environment, Failed> {
        let nonce = Uuid::new_v4().simple().to_string();
        let mut child = self.spawn(options, &nonce).map_err(Failed::Start)?;
        let session = child.id();
        let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Failed::Start(std::io::Error::other("it has no output")));
        };
        let mut said = Vec::new();
        let errors = tokio::spawn(last_words(stderr));
        let answered = tokio::select! {
            answered = timeout_at(until, answer(&mut child, &mut stdout, &mut said, &nonce)) => {
                answered.unwrap_or(Err(Failed::Late))
            }
            () = self.leaving.cancelled() => Err(Failed::Late),
        };
        match answered {
            Ok(env) => {
                errors.abort();
                // It has said all it can say.
                if timeout(LATE, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
                Ok(env)
            }
            Err(Failed::Ended(Words { status, .. })) => {
                let said = words(&said, errors).await;
                Err(Failed::Ended(Words { status, said }))
            }
            Err(failed) => {
                errors.abort();
                end(session).await;
                // Not before all others: as long as it is not collected, its number is its own.
                let _ = child.kill().await;
                Err(failed)
            }
        }
    }

    fn spawn(&self, options: &[&str], nonce: &str) -> std::io::Result<Child> {
        let mut arg0 = OsString::from("-");
        arg0.push(self.shell.file_name().unwrap_or(self.shell.as_os_str()));
        let mut command = Command::new(&self.shell);
        command
            .arg0(arg0)
            .args(options)
            .arg(line(&self.helper_program, nonce))
            .env_clear()
            .envs(&self.env)
            .env(HELPER_VARIABLE, &self.helper_program)
            .current_dir(program::home(&self.env))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        sys::own_session_with_us(command.as_std_mut());
        command.spawn()
    }

    fn sentence(&self, failed: &Failed) -> String {
        let shell = self.shell.display();
        match failed {
            Failed::Start(error) => format!("the login shell {shell} cannot be started: {error}"),
            Failed::Ended(words) => format!(
                "the login shell {shell} ended{} before it told its environment{}",
                match words.status.and_then(|status| status.code()) {
                    Some(code) => format!(" with exit code {code}"),
                    None => String::new(),
                },
                if words.said.is_empty() {
                    String::new()
                } else {
                    format!("; it said: {}", words.said)
                }
            ),
            Failed::Late => format!(
                "the start files of the login shell {shell} did not come to an end within {} s",
                WITHIN.as_secs()
            ),
            Failed::TooMuch => format!(
                "the start files of the login shell {shell} print more than {} MiB",
                SAID_MAX >> 20
            ),
        }
    }
}

/// Why there is no environment.
#[derive(Debug)]
enum Failed {
    Start(std::io::Error),
    Ended(Words),
    Late,
    TooMuch,
}

/// How a shell ended that said something else.
#[derive(Debug, Default)]
struct Words {
    status: Option<ExitStatus>,
    said: String,
}

/// What the shell is to do. A path of letters that mean nothing to any shell is written as it is, so that shells of other
/// families understand it too.
fn line(helper_program: &Path, nonce: &str) -> OsString {
    let plain = helper_program
        .as_os_str()
        .as_bytes()
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte));
    let mut line = OsString::from("exec ");
    if plain {
        line.push(helper_program);
    } else {
        line.push(format!("\"${HELPER_VARIABLE}\""));
    }
    line.push(format!(" environment {nonce}"));
    line
}

/// Reads until the environment is there, which need not be the end: start files may leave something behind that holds the
/// output open.
async fn answer(
    child: &mut Child,
    stdout: &mut (impl AsyncRead + Unpin),
    said: &mut Vec<u8>,
    nonce: &str,
) -> Result<Environment, Failed> {
    let none = |status| {
        Failed::Ended(Words {
            status,
            said: String::new(),
        })
    };
    let gathered = gather(stdout, said, nonce);
    tokio::pin!(gathered);
    let (found, status) = tokio::select! {
        found = &mut gathered => (found, None),
        status = child.wait() => (timeout(LATE, gathered).await.unwrap_or(Ok(None)), status.ok()),
    };
    match found? {
        Some(env) => Ok(env),
        None => {
            let status = match status {
                None => timeout(LATE, child.wait()).await.ok().and_then(Result::ok),
                status => status,
            };
            Err(none(status))
        }
    }
}

/// Reads until the environment is there. None: it was not, to the end.
async fn gather(
    from: &mut (impl AsyncRead + Unpin),
    said: &mut Vec<u8>,
    nonce: &str,
) -> Result<Option<Environment>, Failed> {
    let end = answer::end(nonce);
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // What was looked at before can only hold the beginning of the end.
        let seen = said.len().saturating_sub(end.len());
        said.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if said.len() > SAID_MAX {
            return Err(Failed::TooMuch);
        }
        let new = said.get(seen..).unwrap_or_default();
        if answer::position(new, &end).is_some()
            && let Some(env) = answer::find(said, nonce)
        {
            return Ok(Some(env));
        }
    }
    Ok(None)
}

/// Kills everything in the shell's process session, of which the shell is the leader and was not collected yet.
async fn end(session: Option<u32>) {
    let Some(session) = session else { return };
    if let Some(group) = i32::try_from(session).ok().and_then(Pid::from_raw) {
        // At once, so that this much is done whatever comes.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // It blocks until they are dead, and gives up by itself.
    let _ = spawn_blocking(move || Family::of_session(session).kill()).await;
}

/// Reads to the end and keeps the last of it.
async fn last_words(mut from: ChildStderr) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(WORDS));
    }
    kept
}

/// The last line a shell left, on either of its outputs.
async fn words(said: &[u8], mut errors: JoinHandle<Vec<u8>>) -> String {
    let errors = match timeout(LATE, &mut errors).await {
        Ok(kept) => kept.unwrap_or_default(),
        Err(_elapsed) => {
            errors.abort();
            Vec::new()
        }
    };
    let last = |bytes: &[u8]| {
        let from = bytes.len().saturating_sub(WORDS);
        let text = String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned();
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map(|line| line.trim().chars().filter(|c| !c.is_control()).collect())
    };
    last(&errors).or_else(|| last(said)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_harmless_path_stands_on_the_line() {
        let of = |path: &str| line(Path::new(path), "n1").into_string().unwrap();
        assert_eq!(
            of("/home/a/.cache/o-1/helper"),
            "exec /home/a/.cache/o-1/helper environment n1"
        );
        for odd in ["/home/a b/h", "/home/a'b/h", "/h$(id)", "/h!", "/h#", "/hö"] {
            assert_eq!(of(odd), "exec \"$OUTLAST_HELPER\" environment n1", "{odd}");
        }
    }
}
