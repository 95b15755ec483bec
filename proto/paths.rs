//! The only file that knows where outlast keeps things on this machine.
//!
//! Places follow the XDG base directory specification; values that are not absolute are ignored, as it demands.
//! Nothing is created here.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;

/// Longest path a Unix socket address can hold on Linux, in bytes (`sun_path` less its final NUL).
pub const SOCKET_PATH_MAX: usize = 107;

/// Why the places cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no home directory to build on.
    #[error("the home directory cannot be found: HOME is not set")]
    NoHome,
}

/// Where this user's outlast keeps things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Directory of `config.toml`.
    pub config_dir: PathBuf,
    /// Directory of the database, the lock, logs and spools; mode 0700.
    pub state_dir: PathBuf,
    /// Directory of what can be made again.
    pub cache_dir: PathBuf,
    /// Directory of the socket; mode 0700.
    pub runtime_dir: PathBuf,
    /// True when there is no runtime directory of the session and `runtime_dir` lies in `/tmp`, where it has to be
    /// checked before it is trusted.
    pub runtime_in_tmp: bool,
    /// Where programs of this user keep data; shells look there for completions.
    pub data_home: PathBuf,
    /// Where programs of this user keep configuration.
    pub config_home: PathBuf,
}

impl Places {
    /// Reads the places from the environment.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn from_env() -> Result<Self, PlaceError> {
        let base = etcetera::choose_base_strategy().map_err(|_no_home| PlaceError::NoHome)?;
        let state_dir = base
            .state_dir()
            .unwrap_or_else(|| base.data_dir())
            .join("outlast");
        let runtime = env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute() && dir.is_dir());
        let runtime_in_tmp = runtime.is_none();
        let runtime_dir = runtime.map_or_else(tmp_dir, |dir| dir.join("outlast"));
        Ok(Self {
            config_dir: base.config_dir().join("outlast"),
            state_dir,
            cache_dir: base.cache_dir().join("outlast"),
            runtime_dir,
            runtime_in_tmp,
            data_home: base.data_dir(),
            config_home: base.config_dir(),
        })
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// The socket, unless a flag or `OUTLAST_SOCKET` says otherwise. A runtime directory belongs to one home; the
    /// directory in `/tmp` serves all homes a user may have, so there the name says whose it is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        if self.runtime_in_tmp {
            let name = format!("daemon-{:016x}.sock", fingerprint(&self.state_dir));
            self.runtime_dir.join(name)
        } else {
            self.runtime_dir.join("daemon.sock")
        }
    }

    /// The file whose lock makes a daemon the daemon. It names process and socket once that one serves.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.state_dir.join("daemon.lock")
    }

    /// The file whose lock a client holds while it starts a daemon, so that only one does.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.state_dir.join("start.lock")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("state.db")
    }

    /// Directory of the daemon's log files.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Directory of what accepted jobs and sessions are to run, one file of mode 0600 each.
    #[must_use]
    pub fn spec_dir(&self) -> PathBuf {
        self.state_dir.join("specs")
    }

    /// Reads who holds the daemon's lock, from what it wrote there when it began to serve.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read_daemon_lock(&self) -> io::Result<Option<LockNote>> {
        match fs::read_to_string(self.daemon_lock()) {
            Ok(text) => Ok(LockNote::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The directory for sockets that have no better place. It has to be checked before it is trusted.
#[must_use]
pub fn tmp_dir() -> PathBuf {
    Path::new("/tmp").join(format!("outlast-{}", rustix::process::geteuid().as_raw()))
}

/// Tells places apart within one user's own directory (FNV-1a); nobody else can choose what is hashed.
#[must_use]
pub fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// What a serving daemon writes into its lock file: two lines, process id and socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockNote {
    /// Process id of the daemon.
    pub pid: u32,
    /// Socket it listens on.
    pub socket: PathBuf,
}

impl LockNote {
    /// Reads a note. Anything but exactly such a note is none: an empty file means that the daemon is not ready.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once('\n')?;
        let socket = rest.strip_suffix('\n')?;
        let pid = pid.parse().ok()?;
        if socket.contains('\n') || !socket.starts_with('/') {
            return None;
        }
        Some(Self {
            pid,
            socket: PathBuf::from(socket),
        })
    }

    /// The text to write.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n", self.pid, self.socket.display())
    }
}

/// Directories in which programs of outlast are looked for, the first that has one counts: beside this program (through
/// symlinks), `../lib/outlast`, and `$OUTLAST_LIBDIR`.
#[must_use]
pub fn program_dirs() -> Vec<PathBuf> {
    let own = env::current_exe().ok().and_then(|exe| fs::canonicalize(exe).ok());
    let beside = own.as_deref().and_then(Path::parent);
    let dirs = [
        beside.map(Path::to_owned),
        beside.and_then(Path::parent).map(|dir| dir.join("lib/outlast")),
        env::var_os("OUTLAST_LIBDIR").map(PathBuf::from),
    ];
    dirs.into_iter().flatten().collect()
}

/// Finds a program of outlast in [`program_dirs`].
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let candidates = program_dirs().into_iter().map(|dir| dir.join(name));
    candidates.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_writing_and_reading() {
        let note = LockNote {
            pid: 17,
            socket: PathBuf::from("/run/user/0/outlast/daemon.sock"),
        };
        assert_eq!(LockNote::parse(&note.to_text()), Some(note));
    }

    #[test]
    fn homes_that_share_a_directory_in_tmp_have_sockets_of_their_own() {
        let at = |home: &str, runtime_in_tmp| {
            let home = PathBuf::from(home);
            Places {
                config_dir: home.clone(),
                state_dir: home.join("state"),
                cache_dir: home.clone(),
                runtime_dir: tmp_dir(),
                runtime_in_tmp,
                data_home: home.clone(),
                config_home: home,
            }
            .socket()
        };
        let (first, other) = (at("/home/a", true), at("/home/b", true));
        assert_ne!(first, other);
        assert_eq!(first, at("/home/a", true));
        assert_eq!(first.parent(), Some(tmp_dir().as_path()));
        assert!(at(&format!("/{}", "x".repeat(4000)), true).as_os_str().len() <= SOCKET_PATH_MAX);
        assert_eq!(at("/home/a", false), tmp_dir().join("daemon.sock"));
    }

    #[test]
    fn a_half_written_note_is_no_note() {
        for text in [
            "",
            "17",
            "17\n",
            "17\n/run/x",
            "x\n/run/x\n",
            "17\nrun/x\n",
            "17\n/a\n/b\n",
        ] {
            assert_eq!(LockNote::parse(text), None, "{text:?}");
        }
    }
}
