//! Decisions at the door: whether a request about a job, a session or a sync is done, is done already, or is refused and why.
//!
//! Pure: the state as it is stored goes in, a decision comes out. Whoever asks writes the intent; nothing here has an
//! effect. Names and ids are checked where they are read ([`crate::name`], [`crate::id`]).

pub mod sync;

use crate::{
    job::Job,
    session::{Session, SessionState},
};

/// Most that arguments and environment may have together, bytes. The kernel allows about 2 MiB with pointers, and a
/// quarter of the stack limit.
pub const PROGRAM_MAX_BYTES: usize = 3 << 19;
/// Longest path, bytes, without the final NUL.
pub const PATH_MAX_BYTES: usize = 4095;
/// Longest single argument or `KEY=value` the kernel takes, bytes, without the final NUL.
pub const STRING_MAX_BYTES: usize = (128 << 10) - 1;
/// Greatest width and height of a terminal.
pub const SIZE_MAX: u32 = 10_000;
/// Longest time that can be asked for, milliseconds: 10 years.
pub const DURATION_MAX_MS: u64 = 10 * 366 * 24 * 3_600 * 1_000;

/// How a refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeniedKind {
    /// The request itself is wrong.
    Usage,
    /// The thing is not in a state that allows it.
    WrongState,
}

/// A refusal: one sentence, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No program was given.
    #[error("no command was given")]
    NoCommand,
    /// The program's name is empty.
    #[error("the command begins with an empty word, and no program has an empty name")]
    EmptyProgram,
    /// A NUL byte where the kernel takes none.
    #[error("{0} holds a NUL byte, which no program can be given")]
    Nul(What),
    /// A relative working directory.
    #[error("the working directory {0:?} is not absolute")]
    RelativeDirectory(String),
    /// A path that is too long.
    #[error("the working directory is {0} bytes long; a path has at most {PATH_MAX_BYTES}")]
    LongDirectory(usize),
    /// An environment variable without a name, or with one that holds `=`.
    #[error("{0:?} is no name for an environment variable")]
    BadVariable(String),
    /// One string is too long.
    #[error("{0} is {1} bytes long; the system takes at most {STRING_MAX_BYTES} in one string")]
    LongString(What, usize),
    /// Everything together is too long.
    #[error(
        "arguments and environment have {0} bytes together; at most {PROGRAM_MAX_BYTES} can be passed on"
    )]
    TooMuch(usize),
    /// No time at all.
    #[error("a time limit of 0 would end the job before it begins")]
    NoTime,
    /// More time than can be told.
    #[error("{0} ms is longer than any time limit can be ({DURATION_MAX_MS} ms)")]
    LongTime(u64),
    /// A restart command of nothing.
    #[error("the restart command is empty")]
    EmptyRestartCommand,
    /// A terminal that cannot be.
    #[error("a terminal of {0} columns and {1} rows cannot be made; both go from 1 to {SIZE_MAX}")]
    BadSize(u32, u32),
    /// It must have ended for that.
    #[error("job {job} is {state}; only an ended job can be {verb}")]
    JobLive {
        /// How the user knows it.
        job: String,
        /// Its state.
        state: &'static str,
        /// "retried", "removed".
        verb: &'static str,
    },
    /// Its program must run for that.
    #[error("session {session} {state}; it cannot be {verb}", state = stands(*state), verb = verb.participle())]
    NotRunning {
        /// Its name.
        session: String,
        /// Its state.
        state: SessionState,
        /// What was tried.
        verb: Verb,
    },
    /// Its program runs, or may.
    #[error("session {session} {state}; its program would be ended", state = stands(*state))]
    SessionLive {
        /// Its name.
        session: String,
        /// Its state.
        state: SessionState,
        /// What was tried: "restart", "delete".
        verb: &'static str,
    },
    /// There is nothing to recover.
    #[error("session {session} {state}; only a lost session can be recovered", state = stands(*state))]
    NotLost {
        /// Its name.
        session: String,
        /// Its state.
        state: SessionState,
    },
    /// It is about a sync.
    #[error(transparent)]
    Sync(#[from] sync::Denied),
    /// It is on its way out.
    #[error("session {session} is being deleted")]
    Deleting {
        /// Its name.
        session: String,
    },
}

/// How a session stands, as part of a sentence.
const fn stands(state: SessionState) -> &'static str {
    match state {
        SessionState::Creating => "is still being made",
        SessionState::Running => "is running",
        SessionState::Exited => "has exited",
        SessionState::Stopped => "was stopped",
        SessionState::Broken => "is broken",
        SessionState::Lost => "was lost",
        SessionState::Unknown => "is out of reach",
    }
}

/// Which part of a request something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The argument with this number; 0 is the program.
    Argument(usize),
    /// The working directory.
    Directory,
    /// The environment variable of this name.
    Variable(String),
    /// The restart command.
    RestartCommand,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Argument(0) => f.write_str("the name of the program"),
            Self::Argument(number) => write!(f, "argument {number}"),
            Self::Directory => f.write_str("the working directory"),
            Self::Variable(name) => write!(f, "the environment variable {name:?}"),
            Self::RestartCommand => f.write_str("the restart command"),
        }
    }
}

/// What needs the program of a session to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Type text or keys.
    Send,
    /// Press Ctrl-C.
    Interrupt,
    /// Connect a terminal.
    Attach,
}

impl Verb {
    const fn participle(self) -> &'static str {
        match self {
            Self::Send => "typed into",
            Self::Interrupt => "interrupted",
            Self::Attach => "attached",
        }
    }
}

impl Denied {
    /// How it counts.
    #[must_use]
    pub const fn kind(&self) -> DeniedKind {
        match self {
            Self::NoCommand
            | Self::EmptyProgram
            | Self::Nul(_)
            | Self::RelativeDirectory(_)
            | Self::LongDirectory(_)
            | Self::BadVariable(_)
            | Self::LongString(..)
            | Self::TooMuch(_)
            | Self::NoTime
            | Self::LongTime(_)
            | Self::EmptyRestartCommand
            | Self::BadSize(..) => DeniedKind::Usage,
            Self::JobLive { .. }
            | Self::NotRunning { .. }
            | Self::SessionLive { .. }
            | Self::NotLost { .. }
            | Self::Deleting { .. } => DeniedKind::WrongState,
            Self::Sync(denied) => denied.kind(),
        }
    }

    /// What helps, where there is something to advise.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCommand | Self::EmptyProgram => "put the program and its arguments after --".to_owned(),
            Self::RelativeDirectory(_) => "give the whole path, from / on".to_owned(),
            Self::BadVariable(_) => "a name is not empty and has neither = nor a NUL byte".to_owned(),
            Self::Nul(_) => "leave the NUL byte out".to_owned(),
            Self::LongDirectory(_) => "name it by a shorter path, as that of a link".to_owned(),
            Self::BadSize(..) => "make the terminal smaller or larger".to_owned(),
            Self::LongString(..) | Self::TooMuch(_) => {
                "pass long input in a file, and clear what the program does not need from the environment"
                    .to_owned()
            }
            Self::NoTime | Self::LongTime(_) => "leave the time limit out to set none".to_owned(),
            Self::EmptyRestartCommand => "leave it out to start the same command again".to_owned(),
            Self::JobLive { job, .. } => {
                format!("outlast job wait {job} waits for its end; outlast job cancel {job} ends it")
            }
            Self::NotRunning { session, state, .. } => match state {
                SessionState::Creating => {
                    format!("outlast session show {session} tells when it runs, and what keeps it")
                }
                SessionState::Lost => format!("outlast session recover {session} brings it back"),
                SessionState::Unknown => {
                    format!("its host is away; outlast session show {session} tells more")
                }
                SessionState::Running
                | SessionState::Exited
                | SessionState::Stopped
                | SessionState::Broken => format!(
                    "outlast session restart {session} starts it again; outlast session peek {session} shows its last \
                     screen"
                ),
            },
            Self::SessionLive { session, verb, .. } => {
                format!("outlast session {verb} {session} --force does it")
            }
            Self::NotLost { session, state } if state.is_ended() || *state == SessionState::Broken => {
                format!("outlast session restart {session} starts it again")
            }
            Self::NotLost { session, .. } => format!("outlast attach {session} brings you there"),
            Self::Sync(denied) => return denied.hint(),
            Self::Deleting { session } => {
                format!("once it is gone, outlast session create {session} makes a new one")
            }
        })
    }
}

/// What is to run, as it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Program<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// Working directory.
    pub cwd: Option<&'a str>,
    /// The whole environment as it will be given: base and additions.
    pub env: Vec<(&'a str, &'a str)>,
}

impl Program<'_> {
    /// Everything but that a command is there.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Denied> {
        let mut total = 0_usize;
        for (number, argument) in self.command.iter().enumerate() {
            check_text(argument, || What::Argument(number))?;
            total = total.saturating_add(argument.len() + 1);
        }
        if self.command.first().is_some_and(String::is_empty) {
            return Err(Denied::EmptyProgram);
        }
        if let Some(cwd) = self.cwd {
            check_directory(cwd)?;
        }
        for (key, value) in &self.env {
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(Denied::BadVariable((*key).chars().take(80).collect()));
            }
            let what = || What::Variable(key.chars().take(80).collect());
            check_text(value, what)?;
            let length = key.len() + 1 + value.len();
            if length > STRING_MAX_BYTES {
                return Err(Denied::LongString(what(), length));
            }
            total = total.saturating_add(length + 1);
        }
        if total > PROGRAM_MAX_BYTES {
            Err(Denied::TooMuch(total))
        } else {
            Ok(())
        }
    }
}

fn check_text(text: &str, what: impl Fn() -> What) -> Result<(), Denied> {
    if text.contains('\0') {
        return Err(Denied::Nul(what()));
    }
    if text.len() > STRING_MAX_BYTES {
        return Err(Denied::LongString(what(), text.len()));
    }
    Ok(())
}

fn check_directory(cwd: &str) -> Result<(), Denied> {
    if cwd.contains('\0') {
        return Err(Denied::Nul(What::Directory));
    }
    if cwd.len() > PATH_MAX_BYTES {
        return Err(Denied::LongDirectory(cwd.len()));
    }
    if !cwd.starts_with('/') {
        return Err(Denied::RelativeDirectory(cwd.to_owned()));
    }
    Ok(())
}

/// Whether a job may be made. A time limit is in milliseconds; absent: none.
pub fn create_job(program: &Program<'_>, timeout_ms: Option<u64>) -> Result<(), Denied> {
    if program.command.is_empty() {
        return Err(Denied::NoCommand);
    }
    program.check()?;
    match timeout_ms {
        Some(0) => Err(Denied::NoTime),
        Some(long) if long > DURATION_MAX_MS => Err(Denied::LongTime(long)),
        _ => Ok(()),
    }
}

/// A wish to end something, weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Write this grace in milliseconds as the intent. A wish made before is only ever shortened.
    Accept {
        /// Time between TERM and KILL, milliseconds.
        grace_ms: u64,
    },
    /// It was asked for before, with no longer a grace; there is nothing to write.
    AlreadyAsked,
    /// It has ended.
    AlreadyEnded,
}

fn ending(ended: bool, asked: Option<u64>, grace_ms: u64) -> Ending {
    match asked {
        _ if ended => Ending::AlreadyEnded,
        Some(before) if before <= grace_ms => Ending::AlreadyAsked,
        _ => Ending::Accept {
            grace_ms: grace_ms.min(DURATION_MAX_MS),
        },
    }
}

/// What comes of a wish to cancel a job.
#[must_use]
pub fn cancel(job: &Job, grace_ms: u64) -> Ending {
    ending(job.state.is_ended(), job.cancel_grace_ms, grace_ms)
}

/// Whether a job may be done again.
pub fn retry(job: &Job) -> Result<(), Denied> {
    ended_job(job, "retried")
}

/// Whether a job that was named may be removed.
pub fn prune(job: &Job) -> Result<(), Denied> {
    ended_job(job, "removed")
}

fn ended_job(job: &Job, verb: &'static str) -> Result<(), Denied> {
    if job.state.is_ended() {
        return Ok(());
    }
    let name = job
        .name
        .as_ref()
        .map_or_else(|| job.id.to_string(), ToString::to_string);
    Err(Denied::JobLive {
        job: name,
        state: job.state.as_str(),
        verb,
    })
}

/// Whether a session may be made; the size of its terminal, columns and rows. An empty command is the login shell.
pub fn create_session(
    program: &Program<'_>,
    restart_command: Option<&str>,
    size: Option<(u32, u32)>,
) -> Result<(u16, u16), Denied> {
    program.check()?;
    match restart_command {
        Some("") => return Err(Denied::EmptyRestartCommand),
        Some(command) => check_text(command, || What::RestartCommand)?,
        None => {}
    }
    terminal_size(size.unwrap_or((80, 24)))
}

/// Whether a terminal may have this size: columns and rows.
pub fn terminal_size((columns, rows): (u32, u32)) -> Result<(u16, u16), Denied> {
    let side = |side: u32| {
        u16::try_from(side)
            .ok()
            .filter(|_| (1..=SIZE_MAX).contains(&side))
    };
    side(columns)
        .zip(side(rows))
        .ok_or(Denied::BadSize(columns, rows))
}

/// Whether the program of a session can be reached.
pub fn reach(session: &Session, verb: Verb) -> Result<(), Denied> {
    not_deleting(session)?;
    match session.state {
        SessionState::Running => Ok(()),
        state => Err(Denied::NotRunning {
            session: session.name.to_string(),
            state,
            verb,
        }),
    }
}

/// What comes of a wish to stop a session.
#[must_use]
pub fn stop(session: &Session, grace_ms: u64) -> Ending {
    ending(session.state.is_ended(), session.stop_grace_ms, grace_ms)
}

/// Whether a session may begin its next run. What still runs is ended first, but only with `force`.
pub fn restart(session: &Session, force: bool) -> Result<(), Denied> {
    not_deleting(session)?;
    let over = session.state.is_ended() || session.state == SessionState::Broken;
    if over || force {
        Ok(())
    } else {
        Err(live(session, "restart"))
    }
}

/// Whether a session may be brought back.
pub fn recover(session: &Session) -> Result<(), Denied> {
    not_deleting(session)?;
    match session.state {
        SessionState::Lost => Ok(()),
        state => Err(Denied::NotLost {
            session: session.name.to_string(),
            state,
        }),
    }
}

/// A wish to remove something, weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Write the intent.
    Accept,
    /// It was asked for before; there is nothing to write.
    AlreadyAsked,
}

/// What comes of a wish to remove a session. What still runs is ended first, but only with `force`.
pub fn delete(session: &Session, force: bool) -> Result<Removal, Denied> {
    let over = session.state.is_ended() || session.state == SessionState::Broken;
    match () {
        () if session.deleting => Ok(Removal::AlreadyAsked),
        () if over || force => Ok(Removal::Accept),
        () => Err(live(session, "delete")),
    }
}

fn not_deleting(session: &Session) -> Result<(), Denied> {
    if session.deleting {
        Err(Denied::Deleting {
            session: session.name.to_string(),
        })
    } else {
        Ok(())
    }
}

fn live(session: &Session, verb: &'static str) -> Denied {
    Denied::SessionLive {
        session: session.name.to_string(),
        state: session.state,
        verb,
    }
}

#[cfg(test)]
mod tests;
