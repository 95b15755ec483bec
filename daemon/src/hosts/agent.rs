//! The ssh-agent of the person who uses the daemon. A daemon outlives the login it was started in, so the agent is the
//! one that the last command came with.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

/// Longest path that is taken for one, bytes: what a socket address can hold.
const PATH_MAX: usize = 107;

/// Which agent to use.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: watch::Sender<Option<PathBuf>>,
    /// The daemon's state directory.
    ours: PathBuf,
}

impl Agent {
    /// The agent of the daemon's own environment, until a command brings another. `ours` is the daemon's state directory.
    #[must_use]
    pub fn from_env(ours: PathBuf) -> Self {
        let agent = Self {
            socket: watch::Sender::new(None),
            ours,
        };
        if let Some(own) = std::env::var_os("SSH_AUTH_SOCK") {
            agent.heard(Path::new(&own));
        }
        agent
    }

    /// A command came with this agent. What is no path of a socket is passed over, and so is one of outlast's own, to
    /// which it would forward itself: who asks from within a session has that.
    pub fn heard(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        if !path.is_absolute() || path.as_os_str().len() > PATH_MAX || path.starts_with(&self.ours) {
            return;
        }
        self.socket.send_if_modified(|known| {
            let news = known.as_deref() != Some(path);
            if news {
                *known = Some(path.to_owned());
            }
            news
        });
    }

    /// Word of every other agent that a command brings.
    pub(super) fn changes(&self) -> watch::Receiver<Option<PathBuf>> {
        self.socket.subscribe()
    }

    /// The socket to use now.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        self.socket.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_agent_counts_and_nonsense_does_not() {
        let agent = Agent {
            socket: watch::Sender::new(None),
            ours: PathBuf::from("/home/a/state/outlast"),
        };
        agent.heard("/run/a");
        agent.heard("relative");
        agent.heard(format!("/{}", "x".repeat(200)));
        agent.heard("/home/a/state/outlast/owner/machine/agent");
        assert_eq!(agent.socket(), Some(PathBuf::from("/run/a")));
        agent.heard("/run/b");
        assert_eq!(agent.socket(), Some(PathBuf::from("/run/b")));
    }
}
