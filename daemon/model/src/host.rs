//! Hosts: the machines that work runs on, how each is reached, and how the connection to it is.
//!
//! ```text
//!   connecting ──► up ◄──► down                  (`down` while the first attempt after a loss is made)
//!        │         ▲▲        │
//!        ├─────► backoff ◄───┤                   (tried again by itself)
//!        └──► auth_failed | hostkey_changed ◄────┘     (only a person can mend it)
//! ```
//!
//! A link says nothing of what runs on the host.

use std::{fmt, str::FromStr};

use crate::{BadWord, id::Id, job::TimeMs, name::Name};

/// Name of the machine that the daemon runs on. It is always there and cannot be added or removed.
pub const LOCAL: &str = "local";

/// A machine other than `local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Name,
    /// How it is reached.
    pub route: Route,
    /// When it was added.
    pub created_at: TimeMs,
    /// Which machine answered there first, by its machine id. Absent: none has yet.
    pub machine_id: Option<String>,
    /// What was seen of it last. Absent: nothing ever.
    pub seen: Option<Seen>,
}

/// What was seen of a machine when it was connected last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When, on this machine's clock.
    pub at: TimeMs,
    /// Its operating system, as its helper says.
    pub os: String,
    /// Its architecture.
    pub arch: String,
    /// Who its helper runs as.
    pub user: String,
    /// Version of its helper.
    pub helper_version: String,
    /// Version of its tmux. Absent: it has none.
    pub tmux_version: Option<String>,
    /// Which boot of it that was.
    pub boot_id: String,
}

/// Something that is to be removed on a machine when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Removal {
    /// What it is.
    pub kind: RemovalKind,
    /// Its id.
    pub id: Id,
}

/// What can be removed on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemovalKind {
    /// The directory of a job that has ended.
    Job,
    /// A session: program, screen and directory.
    Session,
    /// The record of what a sync wrote, not what it wrote.
    Sync,
}

impl RemovalKind {
    /// The word it is kept by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Session => "session",
            Self::Sync => "sync",
        }
    }
}

impl FromStr for RemovalKind {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        [Self::Job, Self::Session, Self::Sync]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| BadWord::new("kind of removal", text))
    }
}

/// How a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// By ssh.
    Ssh(SshRoute),
    /// By a program whose standard input and output are a shell there: program and arguments.
    Command(Vec<String>),
}

/// A machine reached by ssh. What is absent comes from the user's ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshRoute {
    /// Name, address, or alias of the ssh configuration.
    pub destination: String,
    /// User to log in as.
    pub user: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Files of private keys to offer, absolute.
    pub identities: Vec<String>,
    /// Host to jump through.
    pub jump: Option<String>,
    /// Which carrier is wanted. Absent: whichever serves.
    pub carrier: Option<Carrier>,
}

/// What can carry an ssh connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The ssh2 library in the daemon.
    Ssh2,
    /// The user's own `ssh`.
    Ssh,
}

impl Carrier {
    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssh2 => "ssh2",
            Self::Ssh => "ssh",
        }
    }
}

impl FromStr for Carrier {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        [Self::Ssh2, Self::Ssh]
            .into_iter()
            .find(|carrier| carrier.as_str() == text)
            .ok_or_else(|| BadWord::new("ssh transport", text))
    }
}

/// How the connection to a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// A connection is being made for the first time.
    Connecting,
    /// Connected.
    Up,
    /// The connection was lost and is being made again.
    Down,
    /// The last attempt failed; the next is due.
    Backoff,
    /// The host refused the credentials, or its key is not known. No more attempts are made.
    AuthFailed,
    /// The host showed another key than the known one, or is another machine. No more attempts are made.
    HostkeyChanged,
}

impl Link {
    /// All links.
    pub const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Up,
        Self::Down,
        Self::Backoff,
        Self::AuthFailed,
        Self::HostkeyChanged,
    ];

    /// The word users and programs know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Backoff => "backoff",
            Self::AuthFailed => "auth_failed",
            Self::HostkeyChanged => "hostkey_changed",
        }
    }

    /// Whether it stays as it is until a person does something.
    #[must_use]
    pub const fn is_stuck(self) -> bool {
        matches!(self, Self::AuthFailed | Self::HostkeyChanged)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest name or address of a machine, bytes: what DNS allows.
const DESTINATION_MAX: usize = 253;

/// Why a route cannot be used. The message is the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    /// The name is taken by this machine.
    #[error("`{LOCAL}` is this machine; another host needs another name")]
    Local,
    /// No address, or one that no machine can have.
    #[error(
        "an address has 1 to {DESTINATION_MAX} letters, digits, dots, colons, dashes, underscores, brackets or % \
         and does not begin with a dash"
    )]
    Destination,
    /// A user that no machine can have.
    #[error(
        "a user has 1 to 64 letters, digits, dots, dashes, underscores, @, + or \\ and does not begin with a dash"
    )]
    User,
    /// Port 0.
    #[error("a port goes from 1 to 65535")]
    Port,
    /// A key file by a relative path.
    #[error("the identity file {0:?} is not an absolute path")]
    Identity(String),
    /// A jump host that is none.
    #[error("a jump host looks like [USER@]HOST[:PORT], several separated by commas")]
    Jump,
    /// No command.
    #[error("no command was given")]
    NoCommand,
    /// A command with a NUL byte or without end.
    #[error("the command holds a NUL byte or is longer than 64 KiB")]
    Command,
}

fn is_destination(text: &str) -> bool {
    (1..=DESTINATION_MAX).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]%".contains(&byte))
}

fn is_user(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_@+\\".contains(&byte))
}

fn is_jump(text: &str) -> bool {
    text.split(',').all(|hop| {
        let (user, host) = hop
            .rsplit_once('@')
            .map_or((None, hop), |(user, host)| (Some(user), host));
        user.is_none_or(is_user) && is_destination(host)
    })
}

/// Whether a host may be added under this name with this route.
///
/// # Errors
/// The rule that is broken.
pub fn check(name: &Name, route: &Route) -> Result<(), BadRoute> {
    if name.as_str() == LOCAL {
        return Err(BadRoute::Local);
    }
    match route {
        Route::Command(words) if words.first().is_none_or(String::is_empty) => Err(BadRoute::NoCommand),
        Route::Command(words) => {
            let length: usize = words.iter().map(|word| word.len() + 1).sum();
            let bad = length > 64 << 10 || words.iter().any(|word| word.contains('\0'));
            if bad { Err(BadRoute::Command) } else { Ok(()) }
        }
        Route::Ssh(ssh) => {
            if !is_destination(&ssh.destination) {
                return Err(BadRoute::Destination);
            }
            if ssh.user.as_deref().is_some_and(|user| !is_user(user)) {
                return Err(BadRoute::User);
            }
            if ssh.port == Some(0) {
                return Err(BadRoute::Port);
            }
            let relative = |file: &&String| !file.starts_with('/') || file.contains('\0');
            if let Some(file) = ssh.identities.iter().find(relative) {
                return Err(BadRoute::Identity(file.chars().take(80).collect()));
            }
            if ssh.jump.as_deref().is_some_and(|jump| !is_jump(jump)) {
                return Err(BadRoute::Jump);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(destination: &str) -> Route {
        Route::Ssh(SshRoute {
            destination: destination.to_owned(),
            ..SshRoute::default()
        })
    }

    #[test]
    fn addresses_that_ssh_could_take_for_something_else_are_refused() {
        let name = "build1".parse().unwrap();
        for good in [
            "10.0.0.1",
            "build1.example",
            "::1",
            "fe80::1%eth0",
            "alias_x",
            "[::1]",
        ] {
            assert_eq!(check(&name, &ssh(good)), Ok(()), "{good}");
        }
        let long = "x".repeat(254);
        for bad in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "$(id)",
            "a\n",
            "ü",
            "a'b",
            &long,
        ] {
            assert_eq!(check(&name, &ssh(bad)), Err(BadRoute::Destination), "{bad:?}");
        }
        assert_eq!(check(&LOCAL.parse().unwrap(), &ssh("a")), Err(BadRoute::Local));
    }

    #[test]
    fn jumps_and_users_are_checked_too() {
        let name = "h".parse().unwrap();
        let with = |change: fn(&mut SshRoute)| {
            let mut route = SshRoute {
                destination: "a".to_owned(),
                ..SshRoute::default()
            };
            change(&mut route);
            check(&name, &Route::Ssh(route))
        };
        assert_eq!(with(|route| route.jump = Some("me@a:22,b".to_owned())), Ok(()));
        assert_eq!(
            with(|route| route.jump = Some("a,-b".to_owned())),
            Err(BadRoute::Jump)
        );
        assert_eq!(
            with(|route| route.user = Some("-l".to_owned())),
            Err(BadRoute::User)
        );
        assert_eq!(with(|route| route.user = Some("dom\\me".to_owned())), Ok(()));
        assert_eq!(with(|route| route.port = Some(0)), Err(BadRoute::Port));
        assert!(with(|route| route.identities = vec!["id".to_owned()]).is_err());
        assert_eq!(check(&name, &Route::Command(vec![])), Err(BadRoute::NoCommand));
        assert_eq!(
            check(&name, &Route::Command(vec!["a\0".to_owned()])),
            Err(BadRoute::Command)
        );
    }

    #[test]
    fn words_are_those_of_the_contract() {
        let words: Vec<_> = Link::ALL.map(Link::as_str).to_vec();
        assert_eq!(
            words,
            [
                "connecting",
                "up",
                "down",
                "backoff",
                "auth_failed",
                "hostkey_changed"
            ]
        );
        assert_eq!("ssh2".parse(), Ok(Carrier::Ssh2));
        assert!("telnet".parse::<Carrier>().is_err());
    }
}
