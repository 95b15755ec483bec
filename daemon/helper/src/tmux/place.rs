//! Where the server's socket and configuration lie.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
};

use outlast_client::{
    paths::{SOCKET_PATH_MAX, fingerprint, tmp_dir},
    socket::private_dir,
};

/// Where the server of one owner on one machine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its socket.
    pub socket: PathBuf,
    /// Its configuration.
    pub conf: PathBuf,
}

impl Place {
    /// The place for the server whose spool is `dir` (which exists and is private). The socket lies there too, unless
    /// its path is too long or the file system holds no sockets; then in a checked directory of this user in `/tmp`.
    ///
    /// # Errors
    /// When the directory in `/tmp` is needed and is not ours alone.
    pub fn choose(dir: &Path) -> io::Result<Self> {
        let conf = dir.join("tmux.conf");
        let near = dir.join("tmux");
        if near.as_os_str().len() <= SOCKET_PATH_MAX && holds_sockets(&near) {
            return Ok(Self { socket: near, conf });
        }
        let tmp = tmp_dir();
        private_dir(&tmp).map_err(io::Error::other)?;
        let socket = tmp.join(format!("tmux-{:016x}", fingerprint(dir)));
        Ok(Self { socket, conf })
    }

    /// Writes the configuration, so that a server that starts meanwhile reads the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_conf(&self, text: &str) -> io::Result<()> {
        let temp = self.conf.with_extension(format!("conf.{}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temp)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&temp, &self.conf)
        })();
        written.map_err(|error| {
            // If it cannot be removed either, it stays a small file of a name nobody reads.
            let _ = fs::remove_file(&temp);
            io::Error::new(error.kind(), format!("writing {}: {error}", self.conf.display()))
        })
    }
}

/// Whether a socket can be made where `socket` is to be.
fn holds_sockets(socket: &Path) -> bool {
    if fs::symlink_metadata(socket).is_ok() {
        return true;
    }
    // Of the same length, so that it stands for the real one.
    let probe = socket.with_file_name("prob");
    // Left over by one that was killed between the two lines below.
    let _ = fs::remove_file(&probe);
    let can = UnixListener::bind(&probe).is_ok();
    let _ = fs::remove_file(&probe);
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_to_tmp_and_stays_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let near = Place::choose(temp.path()).unwrap();
        assert_eq!(near.socket, temp.path().join("tmux"));
        let deep = temp.path().join("x".repeat(100));
        let far = Place::choose(&deep).unwrap();
        assert!(far.socket.starts_with("/tmp") && far.socket.as_os_str().len() <= SOCKET_PATH_MAX);
        assert_eq!(Place::choose(&deep).unwrap(), far);
        assert_ne!(Place::choose(&deep.join("y")).unwrap(), far);
    }
}
