//! The command line. The doc comments here are the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::duration::parse as duration;

mod host;
mod job;
mod notify;
mod provider;
mod read;
mod session;
mod sync;

pub use host::{
    AcceptKey, Host, HostAdd, HostCheck, HostExec, HostForward, HostRemove, HostShell, HostTrust, LOOPBACK,
    Transport,
};
pub use job::{Job, JobCancel, JobList, JobPrune, JobState, JobWait, Logs, Run, Stream};
pub use notify::{Channel, Notify, NotifyTest};
pub use provider::{Provider, ProviderCheck, ProviderHooks, Template, TemplateCheck};
pub use read::{help, meant_as_text};
pub use session::{
    Attach, Session, SessionCreate, SessionDelete, SessionHistory, SessionList, SessionLogs, SessionPeek,
    SessionRecover, SessionRestart, SessionSend, SessionState, SessionStop, SessionWait, Until,
};
pub use sync::{InSync, Sync, SyncAdd, SyncFailure, SyncFlush, SyncMode, SyncReset, SyncResume, SyncShow};

/// outlast keeps work alive when you are not there
///
/// Without a command it shows what runs and what ended.
#[derive(Debug, Parser)]
#[command(name = "outlast", version, propagate_version = false, max_term_width = 100)]
#[command(after_help = "Start here: outlast run -- make test")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Agree to what would be removed or written; never trusts a key
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never ask: fail and name the flag that answers
    #[arg(long, alias = "non-interactive", global = true)]
    pub no_input: bool,
    /// Socket of the daemon
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        env = "OUTLAST_SOCKET",
        hide_env_values = true
    )]
    pub socket: Option<PathBuf>,
    /// Do not start the daemon
    #[arg(long, global = true)]
    pub no_start: bool,
    /// When to use colours
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        default_value = "auto",
        hide_default_value = true
    )]
    pub color: When,
    /// Show the chain of causes of an error (OUTLAST_DEBUG=1)
    #[arg(long, global = true)]
    pub debug: bool,
}

/// When to do something that only suits a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job and follow it: its output, its exit code
    Run(Run),
    /// Connect this terminal to a session
    Attach(Attach),
    /// Show the log of a job or a session
    Logs(Logs),
    /// Wait for a job or a session
    Wait(Wait),
    /// Finite work with a durable log and a true exit status
    #[command(subcommand, arg_required_else_help = true)]
    Job(Job),
    /// Long-lived interactive terminals
    #[command(subcommand, arg_required_else_help = true)]
    Session(Session),
    /// The machines that work runs on
    #[command(subcommand, arg_required_else_help = true)]
    Host(Host),
    /// Directories of this machine that are mirrored to hosts
    #[command(subcommand, arg_required_else_help = true)]
    Sync(Sync),
    /// A live screen of what runs where and what waits for you
    ///
    /// What waits for an answer is on top, with what it asks, and the screen of the selected session below. Attach to it and
    /// come back, send it a line, interrupt or stop it; ? shows the keys. Nothing is asked by the clock: it is fed by events.
    Top,
    /// Programs whose doings are known, as coding agents are
    #[command(subcommand, arg_required_else_help = true)]
    Provider(Provider),
    /// What sessions can be started from
    #[command(subcommand, arg_required_else_help = true)]
    Template(Template),
    /// Show the numbered log of everything that changed
    Events(Events),
    /// Being told what happens where you do not look
    #[command(subcommand, arg_required_else_help = true)]
    Notify(Notify),
    /// Say whether the daemon runs; never starts it
    Status,
    /// Check this installation, and say what mends what is wrong
    Doctor,
    /// Show the versions of outlast and of the running daemon
    Version,
    /// The configuration file
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
    /// Completion for shells
    #[command(subcommand, arg_required_else_help = true)]
    Completion(Completion),
    /// The daemon itself
    #[command(subcommand, arg_required_else_help = true)]
    Daemon(DaemonCommand),
}

/// The configuration file.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Write a file that shows every setting with its default
    Init,
    /// Open the file in $VISUAL or $EDITOR, and check it afterwards
    Edit,
    /// Show the settings in force
    Show,
    /// Check the file
    Check,
}

/// Completion for shells.
#[derive(Debug, Subcommand)]
pub enum Completion {
    /// Print the script
    Show(ShellName),
    /// Put the script where the shell looks for it
    Install(ShellName),
    /// Print what could be named next; the scripts ask this
    #[command(hide = true)]
    Names(Words),
}

/// A command line that is being typed.
#[derive(Debug, Args)]
pub struct Words {
    /// The word that is being typed, as far as it is
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub word: String,
    /// The words before the one that is being typed, less the program's
    #[arg(last = true)]
    pub words: Vec<String>,
}

/// The daemon itself.
#[derive(Debug, Subcommand)]
pub enum DaemonCommand {
    /// Start the daemon; nothing happens when it runs
    Start,
    /// Stop the daemon; jobs and sessions go on without it
    Stop,
    /// Replace the daemon by a fresh one; jobs and sessions go on
    Restart,
    /// Say whether the daemon runs; never starts it
    Status,
    /// Show the daemon's own log
    Logs(DaemonLogs),
}

/// Which shell.
#[derive(Debug, Args)]
pub struct ShellName {
    /// Which shell; taken from $SHELL when left out
    pub shell: Option<Shell>,
}

/// Shells with completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Things by name.
#[derive(Debug, Args)]
pub struct Names {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Where to begin in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    Now,
    Offset(u64),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "start" => Ok(From::Start),
        "now" => Ok(From::Now),
        _ => text
            .parse()
            .map(From::Offset)
            .map_err(|_no_number| "it is start, now, or an offset in bytes".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Give up after so long; the work goes on
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Jobs: replay all output
    #[arg(long)]
    pub all_output: bool,
    /// Sessions: what to wait for
    #[arg(long, value_name = "WHAT")]
    pub until: Option<Until>,
    /// Sessions: a regular expression that a line of output must match
    #[arg(long = "match", value_name = "REGEX")]
    pub pattern: Option<String>,
}

/// When a verb returns that ends something.
#[derive(Debug, Clone, Copy, Args)]
pub struct UntilEnded {
    /// Stop waiting for the end after so long; it comes all the same (default: the grace and 15s)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Return at once, and do not wait for the end
    #[arg(long, alias = "no-wait", conflicts_with = "timeout")]
    pub no_block: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Begin after this number
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// The epoch that number belongs to
    #[arg(long, requires = "after")]
    pub epoch: Option<String>,
    /// Go on with what comes later
    #[arg(short, long)]
    pub follow: bool,
    /// Only these kinds: job.state, or all of a noun: job
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub kind: Vec<String>,
    /// Only those about these things
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub subject: Vec<String>,
    /// Stop following after so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct DaemonLogs {
    /// So many lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    pub lines: usize,
    /// Go on with what is written later
    #[arg(short, long)]
    pub follow: bool,
    /// Stop following after so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}
