//! The ssh-agent that the daemon is told of: one that lives. A login that is over leaves the name of its agent in every
//! terminal that is still open, and the daemon uses the one it heard of last.

use std::{ffi::OsString, path::Path};

use tonic::metadata::{Ascii, MetadataValue};

use crate::socket::is_served;

/// The path of an ssh-agent as metadata, where somebody listens there. A relative one means something else to the daemon,
/// and one that is not printable ASCII cannot be carried; both are left out.
pub(super) fn told(path: Option<OsString>) -> Option<MetadataValue<Ascii>> {
    let path = path.filter(|path| Path::new(path).is_absolute())?;
    let path = path.to_str().filter(|path| path.is_ascii())?;
    let value = MetadataValue::try_from(path).ok()?;
    is_served(Path::new(path)).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use super::*;

    fn is_told(path: &str) -> bool {
        let value = told(Some(path.into()));
        value.is_some_and(|value| value.to_str().is_ok_and(|told| told == path))
    }

    #[test]
    fn only_an_agent_that_lives_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.1 2");
        let path = socket.to_str().unwrap();
        assert!(!is_told(path));
        let agent = UnixListener::bind(&socket).unwrap();
        assert!(is_told(path));
        // Many have come, and none was seen to yet.
        assert!((0..5000).all(|_| is_told(path)));
        drop(agent);
        assert!(!is_told(path));
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "").unwrap();
        assert!(!is_told(path));
    }

    #[test]
    fn only_an_agent_with_an_absolute_path_is_told() {
        for path in ["", "agent", "~/agent", "/run/\n", "/run/\u{fc}"] {
            assert!(!is_told(path), "{path:?}");
        }
        assert_eq!(told(None), None);
    }
}
