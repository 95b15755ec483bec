//! What systemd is told, when it started the daemon: ready, alive, stopping.
//!
//! The address is taken out of the environment before anything else runs, so that no job or session can speak for
//! the daemon; that is why the messages are sent from here.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// Variables that belong to the daemon alone.
pub const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The service manager, or nobody.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Reads the values of [`VARIABLES`], in that order. What makes no sense counts as absent.
    #[must_use]
    pub fn new([notify, usec, pid, ..]: [Option<OsString>; 6]) -> Self {
        let address = notify.as_deref().and_then(|name| address(name).ok());
        let number = |text: Option<OsString>| text.and_then(|text| text.to_str()?.parse::<u64>().ok());
        let for_us = pid.is_none() || number(pid) == Some(u64::from(std::process::id()));
        let watchdog = number(usec)
            .filter(|usec| for_us && address.is_some() && *usec > 0)
            .map(Duration::from_micros);
        Self { address, watchdog }
    }

    /// How often the manager wants to hear [`Manager::alive`]: half of what it allows. Absent: never.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// The daemon serves.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving\n");
    }

    /// The daemon is not stuck.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping\n");
    }

    fn tell(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A manager that does not read must not hold the daemon up.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "telling systemd");
        }
    }
}

/// The socket that a name in `NOTIFY_SOCKET` stands for: a path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        Some((b'/', _)) => SocketAddr::from_pathname(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(notify: &OsStr, usec: &str, pid: &str) -> [Option<OsString>; 6] {
        [
            Some(notify.to_owned()),
            Some(usec.into()),
            Some(pid.into()),
            None,
            None,
            None,
        ]
    }

    #[test]
    fn a_manager_hears_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::new(values(
            path.as_os_str(),
            "2000000",
            &std::process::id().to_string(),
        ));
        assert_eq!(manager.watchdog(), Some(Duration::from_secs(1)));
        manager.ready();
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..count].starts_with(b"READY=1\n"));
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours() {
        let manager = Manager::new(values("/run/x".as_ref(), "2000000", "1"));
        assert_eq!(manager.watchdog(), None);
        let nonsense = Manager::new(values("x".as_ref(), "-", "-"));
        assert_eq!(nonsense.watchdog(), None);
        nonsense.ready();
    }
}
