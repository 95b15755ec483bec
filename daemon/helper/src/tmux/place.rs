//! Where the server's socket and configuration lie.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::socket;

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
        Ok(Self {
            socket: socket::place(dir, "tmux", 0)?,
            conf: dir.join("tmux.conf"),
        })
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
