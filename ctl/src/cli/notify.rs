//! The command line of `outlast notify`. The doc comments here are the help.

use clap::{Args, Subcommand, ValueEnum};

/// Being told.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
What is told, of what and how is in the configuration: outlast config edit, [notify].
Of one session or job five notices are told at once, after that one in 20 s; such a one says of how many it is the last.")]
pub enum Notify {
    /// Tell something now by each way that is configured, and say how that went
    Test(NotifyTest),
}

#[derive(Debug, Args)]
#[command(after_help = "\
What is told, of what and how is in the configuration: outlast config edit, [notify]. Exits with 1 when a way failed.")]
pub struct NotifyTest {
    /// Only by this way, also where nothing is told by it; may be given several times
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    pub to: Vec<Channel>,
}

/// Ways to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    /// A notification on the desktop
    Desktop,
    /// Terminals that are attached to other sessions
    Terminal,
    /// The command that is configured
    Command,
    /// The URL that is configured
    Webhook,
}
