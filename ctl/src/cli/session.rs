//! The command line of `outlast session`, and of `outlast attach`. The doc comments here are the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::{From, InSync, Names, UntilEnded, duration, from};

/// Terminals.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Start a program in a new session
    Create(SessionCreate),
    /// List sessions, oldest first
    List(SessionList),
    /// Show everything known about sessions
    Show(Names),
    /// Connect this terminal to a session; Ctrl-B d or ~. leaves it
    Attach(Attach),
    /// Show what is on a session's screen
    Peek(SessionPeek),
    /// Type text into a session, or press keys
    Send(SessionSend),
    /// Press Ctrl-C in sessions
    Interrupt(Names),
    /// Show a session's scrollback, or follow what it writes
    Logs(SessionLogs),
    /// Show what was run in a session and what it printed
    History(SessionHistory),
    /// Wait until something happens in a session
    Wait(SessionWait),
    /// End the programs of sessions; their last screens are kept
    Stop(SessionStop),
    /// Start the programs of ended sessions again
    Restart(SessionRestart),
    /// Bring back sessions that were lost, as by a reboot
    Recover(SessionRecover),
    /// Remove sessions with their screens and logs
    Delete(SessionDelete),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-B d leaves; the session goes on. Escapes, at the beginning of a line: ~. leaves, ~? shows them, ~~ types one ~.
While the host of the session is away what is typed is refused, and the screen comes back by itself.
The exit code is the program's when it has ended, 0 after leaving, 130 after leaving without a connection.")]
pub struct Attach {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Look, but do not touch
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Debug, Args)]
pub struct SessionCreate {
    /// Name for the session
    pub name: String,
    /// Host to run on (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Template to start it from; what is said here wins over it
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// Provider whose program it runs
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Directory to run in (default: that of the template, else this one)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    #[command(flatten)]
    pub sync: InSync,
    /// Set a variable; without a value, take it from here
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// What restart and recover run instead, through /bin/sh -c
    #[arg(long, value_name = "CMD")]
    pub restart_command: Option<String>,
    /// Attach to it at once
    #[arg(long)]
    pub attach: bool,
    /// Program and arguments (default: the template's, else the provider's, else the login shell)
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SessionList {
    /// Only those in these states
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    pub state: Vec<SessionState>,
    /// Only those on these hosts
    #[arg(long, value_delimiter = ',', value_name = "HOST")]
    pub host: Vec<String>,
    /// Only those that wait for an answer
    #[arg(long)]
    pub waiting: bool,
}

/// Whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SessionState {
    Creating,
    Running,
    Exited,
    Stopped,
    Broken,
    Lost,
    Unknown,
}

#[derive(Debug, Args)]
pub struct SessionPeek {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Keep colours
    #[arg(long)]
    pub ansi: bool,
    /// Answer in JSON with what stands in the cells: text, colours, attributes; cursor and title
    #[arg(long, conflicts_with = "ansi")]
    pub cells: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
One line is typed as it is. Several lines, control characters such as tabs, or more than 16 KiB are pasted: a program that asked
for it (bracketed paste) is told that it is a paste and does not take the lines for so many answers; Enter comes after that.
Text with words that begin with a hyphen goes behind --: outlast session send NAME -- -y

--wait prints what the session does then, as in `waiting: Delete it?`, `idle`, or `unknown`. A session that works is waited for
until it rests: it reports that it waits, idles or failed, it reads a line, or nothing is written or known of it any more for half
a second; for longer where it wrote but one line, or reports at other times. While its host is away it does not rest. What a
shell was told to run works until it ends or reads a line; where it asks for a key, or as another user, that is not known: give such
a wait a --timeout. A shell that marks its prompts (OSC 133) is known to idle at once, any other one after a second.
Exit codes are those of session wait: 1 when the program ended first, 124 when the timeout ran out.")]
pub struct SessionSend {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Text to type; several are joined by spaces. A menu takes the one key of a choice; more is refused
    #[arg(required_unless_present_any = ["keys", "file"], conflicts_with = "keys")]
    pub text: Vec<String>,
    /// Type what is in a file, less its last line end; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "keys"])]
    pub file: Option<PathBuf>,
    /// Do not press Enter after the text
    #[arg(long, conflicts_with = "keys")]
    pub no_enter: bool,
    /// Type every byte as it is, whatever the text holds and the screen shows; never paste it
    #[arg(long, conflicts_with = "keys")]
    pub raw: bool,
    /// Press keys by their tmux names: C-c, Up, Enter
    #[arg(long, num_args = 1.., value_name = "KEY", allow_hyphen_values = false)]
    pub keys: Vec<String>,
    /// Wait until the session has reacted and rests again
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up after so long; the session goes on
    #[arg(long, value_name = "DUR", value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct SessionLogs {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// So many lines (default: all; with --follow: 10)
    #[arg(short = 'n', long, value_name = "LINES", conflicts_with = "from")]
    pub lines: Option<u64>,
    /// With --follow: where to begin: start, now, or an offset in bytes
    #[arg(long, value_name = "WHERE", value_parser = from, requires = "follow")]
    pub from: Option<From>,
    /// Go on with what is written later, as the terminal gets it
    #[arg(short, long)]
    pub follow: bool,
    /// Stop following after so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Commands are known from the marks that a shell makes around them (OSC 133 or 633), with exit code and time. Where it makes none,
from where session send typed text: the line that was echoed is the command, and what follows up to the next is its output. Text
that was not echoed, as a password, is never kept; the first line that came after it stands in its place. What stood on a full screen is left out; session logs -f has every byte.
Several lines pasted into a shell stand as its line editor drew them, and may lack exit codes.
What was sent while a marked command ran has entries of its own, and stands in the output of that as well.
It is read from the log, so it works for ended sessions, and for hosts that are away as far as the log was copied.

Behind a command stands what is known of it, as in [exit 2, 3.1s]: its exit code, its time from a second on, or that it still runs.
--json prints an array, oldest first. There is more before the id of its first entry (--before), until an array is empty.")]
pub struct SessionHistory {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Only what was run
    #[arg(long, conflicts_with = "output")]
    pub commands: bool,
    /// Only what was printed
    #[arg(long)]
    pub output: bool,
    /// At most so many entries; a command is one, and its output another
    #[arg(long, value_name = "N", default_value_t = Self::LIMIT, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// The newest ones before this entry, as --json gives its id
    #[arg(long, value_name = "ID", conflicts_with = "after")]
    pub before: Option<String>,
    /// The oldest ones after this entry
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

impl SessionHistory {
    /// Entries of one answer where nobody says how many.
    pub const LIMIT: u32 = 100;
}

#[derive(Debug, Args)]
pub struct SessionWait {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// What to wait for
    #[arg(long, value_name = "WHAT", default_value = "exited")]
    pub until: Until,
    /// A regular expression that a line of output must match
    #[arg(long = "match", value_name = "REGEX")]
    pub pattern: Option<String>,
    /// Look at output from here on: start, now, or an offset in bytes, as send --json gives it
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<From>,
    /// Only what it does after the event of this number counts, as send --json gives it
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// Give up after so long; the session goes on
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What a session can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// It waits for an answer
    Waiting,
    /// It has nothing to do
    Idle,
    /// Its program has ended
    Exited,
    /// It writes something
    Output,
    /// It did something and rests again
    Reacted,
}

#[derive(Debug, Args)]
pub struct SessionStop {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Time between TERM and KILL (default: 5s)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub grace: Option<Duration>,
    #[command(flatten)]
    pub until: UntilEnded,
}

#[derive(Debug, Args)]
pub struct SessionRestart {
    /// Name, id, or the unique beginning of an id
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    pub names: Vec<String>,
    /// All sessions that have ended
    #[arg(long)]
    pub all: bool,
    /// With --all: only those in these states
    #[arg(long, value_delimiter = ',', value_name = "STATE", requires = "all")]
    pub state: Vec<SessionState>,
    /// Also when the program still runs; it is ended first
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct SessionRecover {
    /// Name, id, or the unique beginning of an id
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    pub names: Vec<String>,
    /// All sessions that were lost
    #[arg(long)]
    pub all: bool,
    /// Only say what would run
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct SessionDelete {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Also while the program runs; it is ended first
    #[arg(long)]
    pub force: bool,
}
