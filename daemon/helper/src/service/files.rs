//! Single small files of the user's: reading one, and putting one in place, whole or not at all.
//!
//! Nothing is overwritten that is not what the caller saw. A symbolic link stays one: what it leads to is changed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use outlast_client::{
    helper_v1::{ReadFileRequest, ReadFileResponse, ReplaceFileRequest, ReplaceFileResponse},
    v1::{Error, ErrorKind},
};
use tonic::Status;
use uuid::Uuid;

use super::error::{failed, usage};

/// Longest file, bytes: settings that people write.
const LONGEST: u64 = 1 << 20;

/// Who may use a file that was not there before.
const MODE: u32 = 0o600;

/// Reads a file.
pub(super) async fn read(request: ReadFileRequest) -> Result<ReadFileResponse, Status> {
    let path = absolute(&request.path)?;
    let content = blocking(move || content(&path)).await?;
    Ok(ReadFileResponse {
        content: content.map(Into::into),
    })
}

/// Puts a file in place, or removes it.
pub(super) async fn replace(request: ReplaceFileRequest) -> Result<ReplaceFileResponse, Status> {
    let path = absolute(&request.path)?;
    let replaced = blocking(move || {
        if content(&path)?.as_deref() != request.before.as_deref() {
            return Ok(false);
        }
        match &request.after {
            Some(after) => put(&path, after)?,
            None if request.before.is_some() => fs::remove_file(&path)?,
            None => {}
        }
        Ok(true)
    });
    if replaced.await? {
        return Ok(ReplaceFileResponse {});
    }
    let message = format!("{} was changed meanwhile", request.path);
    Err(Error::new(ErrorKind::Conflict, message)
        .with_hint("try again: what is there now is looked at then")
        .into_status())
}

fn absolute(path: &str) -> Result<PathBuf, Status> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(usage(format!("{} is no absolute path", path.display())))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|ending| failed(&io::Error::other(ending)))?
        .map_err(|cause| failed(&cause))
}

/// What is in a file. None: it is not there.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    // A FIFO would be waited for.
    let kind = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta.map_err(named)?,
    };
    if !kind.is_file() {
        return Err(named(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no file",
        )));
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(named)?;
    file.take(LONGEST + 1).read_to_end(&mut content).map_err(named)?;
    if content.len() as u64 > LONGEST {
        let text = "it is longer than 1 MiB";
        return Err(named(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    Ok(Some(content))
}

/// Writes beside and renames.
fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        target => target.map_err(named)?,
    };
    let dir = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(named)?;
    let mode = fs::metadata(&target).map_or(MODE, |meta| meta.permissions().mode() & 0o7777);
    let mut beside = OsString::from(&target);
    beside.push(format!(".{}.new", Uuid::new_v4()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // Half a file helps nobody.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &Path, before: Option<&str>, after: Option<&str>) -> ReplaceFileRequest {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec().into());
        ReplaceFileRequest {
            path: path.display().to_string(),
            before: bytes(before),
            after: bytes(after),
        }
    }

    async fn there(path: &Path) -> Option<String> {
        let request = ReadFileRequest {
            path: path.display().to_string(),
        };
        let content = read(request).await.unwrap().content;
        content.map(|content| String::from_utf8(content.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_file_is_made_changed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/settings");
        assert_eq!(there(&path).await, None);
        replace(request(&path, None, Some("a"))).await.unwrap();
        assert_eq!(there(&path).await.as_deref(), Some("a"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(request(&path, Some("a"), Some("b"))).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        replace(request(&path, Some("b"), None)).await.unwrap();
        assert_eq!(there(&path).await, None);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_somebody_changed_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        fs::write(&path, "theirs").unwrap();
        for before in [None, Some("mine")] {
            for after in [None, Some("new")] {
                replace(request(&path, before, after)).await.unwrap_err();
            }
        }
        assert_eq!(there(&path).await.as_deref(), Some("theirs"));
    }

    #[tokio::test]
    async fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "a").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(request(&link, Some("a"), Some("b"))).await.unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "b");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[tokio::test]
    async fn what_is_no_small_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        for path in [dir.path(), &path, Path::new("relative"), Path::new("/dev/null")] {
            let request = ReadFileRequest {
                path: path.display().to_string(),
            };
            read(request).await.unwrap_err();
        }
    }
}
