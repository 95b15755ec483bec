//! The command line of `outlast job`, and of `outlast run` and `outlast logs`. The doc comments here are the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::{From, InSync, Names, UntilEnded, duration, from};

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

#[derive(Debug, Args)]
pub struct Run {
    /// Host to run on (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Directory to run in (default: this one)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    #[command(flatten)]
    pub sync: InSync,
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

/// One of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    Stdout,
    Stderr,
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
