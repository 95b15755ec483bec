//! How a machine is reached, as a value. Nothing here connects.

use std::path::PathBuf;

/// The way to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// By ssh.
    Ssh(SshRoute),
    /// By a program whose standard input and output are a POSIX shell on the machine: program and arguments.
    Command(Vec<String>),
}

/// A machine reached by ssh. What is absent comes from the user's ssh configuration (`ssh -G`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshRoute {
    /// Name, address, or alias of the ssh configuration. Never begins with a hyphen.
    pub destination: String,
    /// User to log in as.
    pub user: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Files of private keys to offer. Empty: those of the configuration and the agent.
    pub identities: Vec<PathBuf>,
    /// Host to jump through, as for `ssh -J`.
    pub jump: Option<String>,
    /// The user's `ssh`, which is also asked for the configuration. Absent: the one in PATH.
    pub program: Option<PathBuf>,
    /// Which carrier is wanted. Absent: the library where it can do all the connection needs, else the program.
    pub carrier: Option<SshCarrier>,
}

/// What carries an ssh connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshCarrier {
    /// The ssh2 library, in a thread of this process.
    Ssh2,
    /// The user's own `ssh`, as a program.
    Ssh,
}

/// What carries a connection, as shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// An in-memory pipe.
    InProcess,
    /// The ssh2 library.
    Ssh2,
    /// The user's own `ssh`.
    Ssh,
    /// A command of the user's.
    Command,
}

impl Carrier {
    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "in process",
            Self::Ssh2 => "ssh2",
            Self::Ssh => "ssh",
            Self::Command => "command",
        }
    }
}
