//! The command line of `outlast sync`, and what `run` and `session create` take about syncs. The doc comments here are
//! the help.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{Names, duration};
use crate::rate::parse as rate;

/// Mirrors.
#[derive(Debug, Subcommand)]
pub enum Sync {
    /// Mirror a directory of this machine to a host, from now on
    Add(SyncAdd),
    /// List syncs
    List,
    /// Show everything known about syncs: what is pending, what was left out and why
    Show(SyncShow),
    /// Wait until everything that was written before is on the host
    Flush(SyncFlush),
    /// Stop looking and sending until they are resumed
    Pause(Names),
    /// Go on after a pause, an error, or a halt whose cause is gone; any other halt wants --confirm
    Resume(SyncResume),
    /// Forget what is known of both sides, and compare them by content
    Reset(SyncReset),
    /// End syncs; what they wrote stays on the host
    Remove(Names),
}

#[derive(Debug, Args)]
#[command(
    override_usage = "outlast sync add [OPTIONS] [NAME] LOCAL HOST:PATH",
    after_help = "\
PATH is absolute, or relative to the home directory there. What .gitignore and .outlastignore name is left out. Only what
outlast wrote is ever replaced or deleted there; anything else is a conflict, which is kept and shown.
Examples: outlast sync add . build1:src/app, outlast sync add web ~/web build1:/srv/web"
)]
pub struct SyncAdd {
    /// A name if it is to have one, the directory here, and where it goes
    #[arg(required = true, value_name = "[NAME] LOCAL HOST:PATH")]
    pub places: Vec<String>,
    /// Leave out what this pattern of .gitignore names; outranks all files
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Take along what Git ignores
    #[arg(long)]
    pub no_gitignore: bool,
    /// Take along .git
    #[arg(long)]
    pub git: bool,
    /// What is done about what is gone here: mirror deletes it there, update keeps it
    #[arg(
        long,
        value_name = "MODE",
        default_value = "mirror",
        hide_default_value = true
    )]
    pub mode: SyncMode,
    /// Send at most so many bytes a second: 500K, 2M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<u64>,
    /// Take a directory that holds something already, and replace what differs there
    #[arg(long)]
    pub adopt: bool,
    /// Do not wait for the first copy
    #[arg(long, alias = "no-block", conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Stop waiting for the first copy after so long; it goes on
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What is done about what is gone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncMode {
    /// What the sync wrote and is gone here goes there too
    Mirror,
    /// Nothing is deleted
    Update,
}

#[derive(Debug, Args)]
pub struct SyncShow {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Every path there is a problem with
    #[arg(long)]
    pub all: bool,
    /// Look at both sides of a sync that is halted because its target holds something, and show what would be replaced
    #[arg(long)]
    pub preview: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 when problems leave paths missing or different there, 4 when a sync is paused or halted.")]
pub struct SyncFlush {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Give up after so long; the syncs go on
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct SyncResume {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Go on although it is halted, whatever goes by that
    #[arg(long)]
    pub confirm: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A PATH is one that sync show names, or a directory above some of them; --adopt=PATH can be given several times. It replaces
what is there by what is here, and leaves everything else as it is; what is there can be kept by removing it here.
Example: outlast sync reset app --adopt=src/main.c")]
pub struct SyncReset {
    /// Name, id, or the unique beginning of an id
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Replace what differs there: solves conflicts, all of them or those at and below PATH
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    pub adopt: Vec<String>,
}

/// A sync that work runs in.
#[derive(Debug, Args)]
pub struct InSync {
    /// Run in a sync's directory on its host, once everything is there (default: the sync of this directory)
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    pub sync: Option<Option<String>>,
    /// What to do when not everything can be brought there: warn, and start all the same, or fail
    #[arg(long, value_name = "WHAT", requires = "sync")]
    pub sync_failure: Option<SyncFailure>,
}

/// What a failed flush means to what is to start behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncFailure {
    /// Say so, and start
    Warn,
    /// Do not start
    Fail,
}
