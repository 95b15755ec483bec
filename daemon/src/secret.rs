//! A secret of this state directory, made once, by which fingerprints in the database are keyed: without it nobody can
//! try out what a request carried, such as a password in a variable or one that was typed.
//!
//! It lies beside the database and in none of its copies. Losing it costs repeats of older requests only: they are taken
//! for others of the same id, and refused.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::lock::{DaemonLock, LockError, failed, write_private};

/// Bytes of a secret: as many as those of a fingerprint.
const LENGTH: usize = 32;

/// The secret. It never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; LENGTH]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads it, or makes it: once for ever, unless its file is damaged. Called with the lock held.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn of(state_dir: &Path, _lock: &DaemonLock) -> Result<Self, LockError> {
        let path = state_dir.join("request-key");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file
                .take(LENGTH as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(failed("reading", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(failed("opening", &path)(error)),
        };
        if let Ok(secret) = bytes.try_into() {
            return Ok(Self(secret));
        }
        let mut secret = [0; LENGTH];
        let random = Path::new("/dev/urandom");
        File::open(random)
            .and_then(|mut source| source.read_exact(&mut secret))
            .map_err(failed("reading", random))?;
        write_private(&path, &secret)?;
        Ok(Self(secret))
    }

    /// The bytes, for a hash.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
impl Secret {
    /// One for tests.
    pub(crate) fn fixed(byte: u8) -> Self {
        Self([byte; LENGTH])
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn it_is_made_once_and_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DaemonLock::take(&crate::lock::tests::places(dir.path())).unwrap();
        let state = dir.path().join("state");
        let first = Secret::of(&state, &lock).unwrap();
        assert_eq!(Secret::of(&state, &lock).unwrap(), first);
        assert_ne!(first, Secret::fixed(0));
        assert_eq!(format!("{first:?}"), "Secret");
        let file = state.join("request-key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // Half a secret is none.
        fs::write(&file, "short").unwrap();
        assert_ne!(Secret::of(&state, &lock).unwrap(), first);
        assert_eq!(fs::metadata(&file).unwrap().len(), LENGTH as u64);
    }
}
