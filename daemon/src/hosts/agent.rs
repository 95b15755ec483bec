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
}

impl Agent {
    /// The agent of the daemon's own environment, until a command brings another.
    #[must_use]
    pub fn from_env() -> Self {
        let own = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        Self {
            socket: watch::Sender::new(own.filter(|path| path.is_absolute())),
        }
    }

    /// A command came with this agent. What is no path of a socket is passed over.
    pub fn heard(&self, path: &str) {
        let path = Path::new(path);
        if !path.is_absolute() || path.as_os_str().len() > PATH_MAX {
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
        };
        agent.heard("/run/a");
        agent.heard("relative");
        agent.heard(&format!("/{}", "x".repeat(200)));
        assert_eq!(agent.socket(), Some(PathBuf::from("/run/a")));
        agent.heard("/run/b");
        assert_eq!(agent.socket(), Some(PathBuf::from("/run/b")));
    }
}
