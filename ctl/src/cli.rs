//! The command line. The doc comments here are the help.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::duration::parse as duration;

mod host;

pub use host::{
    AcceptKey, Host, HostAdd, HostCheck, HostExec, HostForward, HostRemove, HostShell, HostTrust, Transport,
};

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

/// `status` and the global flags, nothing else.
#[derive(Debug, Parser)]
#[command(name = "outlast", disable_help_flag = true, disable_version_flag = true)]
struct StatusOnly {
    #[command(flatten)]
    global: Global,
    word: String,
}

/// The verbs that run a program, nothing else.
#[derive(Debug, Parser)]
#[command(name = "outlast", disable_help_flag = true, disable_version_flag = true)]
struct RunOnly {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: RunVerb,
}

/// As they stand in [`Command`].
#[derive(Debug, Subcommand)]
enum RunVerb {
    Run(Run),
    #[command(subcommand)]
    Host(ExecVerb),
}

/// As it stands in [`Host`].
#[derive(Debug, Subcommand)]
enum ExecVerb {
    Exec(HostExec),
}

/// The verb that never starts a daemon.
const STATUS: &str = "status";

impl Cli {
    /// Reads the command line.
    pub fn read() -> Result<Self, clap::Error> {
        let args: Vec<OsString> = std::env::args_os().collect();
        match Self::read_quickly(&args) {
            Some(cli) => Ok(cli),
            None => Self::try_parse_from(args),
        }
    }

    /// What scripts and prompts ask all the time, read by itself where that is possible: building the whole tree of
    /// commands takes longer than the question itself. None: the tree has to read it, which also knows all errors.
    fn read_quickly(args: &[OsString]) -> Option<Self> {
        let own = || args.iter().skip(1).take_while(|arg| *arg != "--");
        if own().any(|arg| arg == "run" || arg == "exec") {
            let RunOnly { global, command } = RunOnly::try_parse_from(args).ok()?;
            let command = match command {
                RunVerb::Run(run) => Command::Run(run),
                RunVerb::Host(ExecVerb::Exec(exec)) => Command::Host(Host::Exec(exec)),
            };
            return Some(Self {
                global,
                command: Some(command),
            });
        }
        let all_own = own().count() + 1 == args.len();
        if all_own && own().any(|arg| arg == STATUS) {
            let StatusOnly { global, word } = StatusOnly::try_parse_from(args).ok()?;
            return (word == STATUS).then_some(Self {
                global,
                command: Some(Command::Status),
            });
        }
        None
    }
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
    /// Answer every question with yes
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
    /// Show the numbered log of everything that changed
    Events(Events),
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

/// Finite work.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Run a job and follow it: its output, its exit code
    Run(Run),
    /// List jobs, newest first
    List(JobList),
    /// Show everything known about jobs
    Show(Names),
    /// Show a job's output
    Logs(Logs),
    /// Wait until jobs have ended; the exit code is theirs
    Wait(JobWait),
    /// End jobs: TERM, and KILL after the grace
    Cancel(JobCancel),
    /// Run ended jobs again, as new jobs
    Retry(Names),
    /// Remove ended jobs and their logs
    Prune(JobPrune),
}

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

#[derive(Debug, Args)]
pub struct Run {
    /// Host to run on (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Directory to run in (default: this one)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Name for the job
    #[arg(long)]
    pub name: Option<String>,
    /// Set a variable; without a value, take it from here
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Print the id and leave the job alone
    #[arg(short, long)]
    pub detach: bool,
    /// End the job when it runs longer (30s, 5m, 1h30m; a plain number is seconds)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Let Ctrl-C cancel the job instead of leaving it
    #[arg(long, conflicts_with = "detach")]
    pub cancel_on_interrupt: bool,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
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
pub struct Logs {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Go on with what is written later
    #[arg(short, long)]
    pub follow: bool,
    /// Begin so many lines before the end
    #[arg(short = 'n', long, value_name = "LINES", conflicts_with = "from")]
    pub lines: Option<u64>,
    /// Where to begin: start, now, or an offset in bytes
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<From>,
    /// Only this stream
    #[arg(long)]
    pub stream: Option<Stream>,
    /// Stop following after so long
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
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

/// One of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    Stdout,
    Stderr,
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

#[derive(Debug, Args)]
pub struct JobList {
    /// Only those in these states
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    pub state: Vec<JobState>,
    /// Only those on these hosts
    #[arg(long, value_delimiter = ',', value_name = "HOST")]
    pub host: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Lost,
}

#[derive(Debug, Args)]
pub struct JobWait {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "ID")]
    pub names: Vec<String>,
    /// Replay all output
    #[arg(long)]
    pub all_output: bool,
    /// Give up after so long; the jobs go on
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct JobCancel {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "ID")]
    pub names: Vec<String>,
    /// Time between TERM and KILL (default: 10s)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub grace: Option<Duration>,
    #[command(flatten)]
    pub until: UntilEnded,
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
pub struct JobPrune {
    /// Only these jobs (default: all that have ended)
    #[arg(value_name = "ID")]
    pub names: Vec<String>,
    /// Only those in these states
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    pub state: Vec<JobState>,
    /// Only those that ended longer ago
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct SessionCreate {
    /// Name for the session
    pub name: String,
    /// Host to run on (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Directory to run in (default: this one)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable; without a value, take it from here
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// What restart and recover run instead, through /bin/sh -c
    #[arg(long, value_name = "CMD")]
    pub restart_command: Option<String>,
    /// Attach to it at once
    #[arg(long)]
    pub attach: bool,
    /// Program and arguments (default: the login shell)
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
}

#[derive(Debug, Args)]
pub struct SessionSend {
    /// Name, id, or the unique beginning of an id
    pub name: String,
    /// Text to type; several are joined by spaces
    #[arg(required_unless_present = "keys", conflicts_with = "keys")]
    pub text: Vec<String>,
    /// Do not press Enter after the text
    #[arg(long, conflicts_with = "keys")]
    pub no_enter: bool,
    /// Press keys by their tmux names: C-c, Up, Enter
    #[arg(long, num_args = 1.., value_name = "KEY", allow_hyphen_values = false)]
    pub keys: Vec<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read quickly, and what the whole tree reads.
    fn both(line: &str) -> (Option<String>, Option<String>) {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let quick = Cli::read_quickly(&args).map(|cli| format!("{cli:?}"));
        let whole = Cli::try_parse_from(args).ok().map(|cli| format!("{cli:?}"));
        (quick, whole)
    }

    #[test]
    fn what_is_read_quickly_is_what_the_tree_reads() {
        for line in [
            "outlast status",
            "outlast --json status --quiet",
            "outlast run true",
            "outlast -q run -d --name n --host h --env A=b --timeout 5s -- make --json status",
            "outlast run make -h",
            "outlast host exec h -- true",
            "outlast --socket /s host exec h --cwd / -e A uname -a",
            "outlast host --json exec h sh -c exit",
        ] {
            let (quick, whole) = both(line);
            assert!(quick.is_some(), "{line}");
            assert_eq!(quick, whole, "{line}");
        }
    }

    #[test]
    fn the_rest_is_left_to_the_tree() {
        for line in [
            "outlast",
            "outlast job run true",
            "outlast run --help",
            "outlast run",
            "outlast host exec --help",
            "outlast host show exec",
            "outlast host list",
            "outlast daemon status",
            "outlast attach run",
            "outlast status -- x",
            "outlast status status",
        ] {
            let (quick, _) = both(line);
            assert_eq!(quick, None, "{line}");
        }
    }
}
