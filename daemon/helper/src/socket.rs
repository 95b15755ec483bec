//! Where the sockets of one owner on this machine lie: beside the spool, or in a checked directory of this user in `/tmp`.
//! Never in the runtime directory, which a logout removes.

use std::{
    fs, io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use outlast_client::{
    paths::{SOCKET_PATH_MAX, fingerprint, tmp_dir},
    socket::private_dir,
};

/// The place for the socket `name` of the owner whose spool is `dir` (which exists and is private). It stays the same. It
/// lies in `dir`, unless its path with `room` more bytes is too long or the file system holds no sockets.
///
/// # Errors
/// When the directory in `/tmp` is needed and is not ours alone.
pub(crate) fn place(dir: &Path, name: &str, room: usize) -> io::Result<PathBuf> {
    let near = dir.join(name);
    if near.as_os_str().len() + room <= SOCKET_PATH_MAX && holds_sockets(&near) {
        return Ok(near);
    }
    let tmp = tmp_dir();
    private_dir(&tmp).map_err(io::Error::other)?;
    Ok(tmp.join(format!("{name}-{:016x}", fingerprint(dir))))
}

/// Whether a socket can be made where `socket` is to be.
fn holds_sockets(socket: &Path) -> bool {
    if fs::symlink_metadata(socket).is_ok() {
        return true;
    }
    // No longer than the real one, so that it stands for it.
    let probe = socket.with_file_name("prob");
    // Left over by one that was killed between the two lines below.
    let _ = fs::remove_file(&probe);
    let can = match UnixListener::bind(&probe) {
        Ok(_) => true,
        // By another helper that looks at the same moment.
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    };
    let _ = fs::remove_file(&probe);
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_to_tmp_and_stays_the_same() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(place(temp.path(), "tmux", 0).unwrap(), temp.path().join("tmux"));
        let deep = temp.path().join("x".repeat(100));
        let far = place(&deep, "tmux", 0).unwrap();
        assert!(far.starts_with("/tmp") && far.as_os_str().len() <= SOCKET_PATH_MAX);
        assert_eq!(place(&deep, "tmux", 0).unwrap(), far);
        assert_ne!(place(&deep, "agent", 0).unwrap(), far);
        assert_ne!(place(&deep.join("y"), "tmux", 0).unwrap(), far);
    }
}
