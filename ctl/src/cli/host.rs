//! The command line of `outlast host`. The doc comments here are the help.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::Names;

/// Where forwarded ports are listened at unless it is said: nobody else reaches them there.
pub const LOOPBACK: &str = "127.0.0.1";

/// Machines.
#[derive(Debug, Subcommand)]
pub enum Host {
    /// Add a machine, and connect to it
    Add(HostAdd),
    /// List hosts
    List,
    /// Show everything known about hosts
    Show(Names),
    /// Connect anew and show each step with its time
    Check(HostCheck),
    /// Take the key that a host shows now for its own
    Trust(HostTrust),
    /// Open a shell on a host; it ends with this terminal
    Shell(HostShell),
    /// Run a program on a host, here in the foreground; it ends with this command
    Exec(HostExec),
    /// Forward ports of this machine to a host, until Ctrl-C
    Forward(HostForward),
    /// Forget hosts with their jobs and sessions; what runs there goes on
    Remove(HostRemove),
}

/// What to do about a host key that is not known yet.
#[derive(Debug, Args)]
pub struct AcceptKey {
    /// Take the host's key when it has this fingerprint (SHA256:…)
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "accept_new")]
    pub accept_key: Option<String>,
    /// Take whatever key the host shows when none is known for it
    #[arg(long)]
    pub accept_new: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Addresses: a name or alias of ~/.ssh/config, user@host, host:port, [2001:db8::1]:port, ssh://user@host:port.
What is not said here is taken from ~/.ssh/config. Without --no-check a host that cannot be reached is not added.
Ctrl-C while it connects takes everything back.")]
pub struct HostAdd {
    /// Name for the host
    pub name: String,
    /// Where it is: ADDR, USER@ADDR or USER@ADDR:PORT, or an alias of ~/.ssh/config
    #[arg(value_name = "[USER@]ADDR[:PORT]", required_unless_present = "command", value_hint = ValueHint::Hostname)]
    pub address: Option<String>,
    /// Private key to offer; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,
    /// Host to jump through, as for ssh -J
    #[arg(long, value_name = "H")]
    pub jump: Option<String>,
    /// What makes the connection: the built-in ssh2, or the program ssh
    #[arg(long, value_name = "WHICH", default_value = "auto", hide_default_value = true)]
    pub transport: Transport,
    #[command(flatten)]
    pub accept: AcceptKey,
    /// Reach it by a command whose stdin and stdout are a shell there: 'docker exec -i web sh'
    #[arg(long, value_name = "COMMAND",
        conflicts_with_all = ["address", "identity", "jump", "transport", "accept_key", "accept_new"])]
    pub command: Option<String>,
    /// Add it without connecting
    #[arg(long, conflicts_with_all = ["accept_key", "accept_new"])]
    pub no_check: bool,
}

/// Which way an ssh connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Whichever serves: ssh2 where it can do all that the connection needs
    Auto,
    /// The ssh2 library in the daemon
    Ssh2,
    /// The program ssh
    Ssh,
}

#[derive(Debug, Args)]
pub struct HostCheck {
    /// Names of hosts
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub accept: AcceptKey,
}

#[derive(Debug, Args)]
pub struct HostTrust {
    /// Name of the host
    pub name: String,
    /// Fingerprint of the key that it must show (SHA256:…); asked for when left out
    #[arg(long)]
    pub fingerprint: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Escapes, at the beginning of a line: ~. leaves, ~? shows them, ~~ types one ~.
For a shell that survives a broken connection: outlast session create NAME --host HOST --attach")]
pub struct HostShell {
    /// Name of the host
    pub name: String,
    /// Absolute directory to begin in (default: the home directory there)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable; without a value, take it from here
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
stdin, stdout, stderr and the exit code are the program's; 125 is a failure of outlast's own. Ctrl-C is sent to the
program as SIGINT; a second one within a second leaves, with 130, and the program is ended. For work that survives:
outlast run --host HOST -- CMD")]
pub struct HostExec {
    /// Name of the host
    pub name: String,
    /// Absolute directory to run in (default: the home directory there)
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable; without a value, take it from here
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
REMOTE is a port of the host, or HOST:PORT as the host sees it. LOCAL is the port here: the same one when it is left
out, any free one when it is 0. Examples: 8080, 8080:80, 5432:db.internal:5432, 0:[::1]:443")]
pub struct HostForward {
    /// Name of the host
    pub name: String,
    /// What to forward
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<String>,
    /// Address to listen at here
    #[arg(long, value_name = "ADDR", default_value = LOOPBACK)]
    pub address: String,
}

#[derive(Debug, Args)]
pub struct HostRemove {
    /// Names of hosts
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Also while something runs there; it goes on, and outlast forgets it
    #[arg(long)]
    pub force: bool,
}
