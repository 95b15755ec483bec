//! The helper programs that are installed here, for hosts of other kinds than this one too.

use std::{
    collections::HashMap,
    env, io,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

use outlast_helper::installed;

use crate::error::{Cause, ConnectError};

/// Architectures for which there can be a helper, as Rust names them, each with what `uname -m` may say of it.
pub(crate) const ARCHITECTURES: [(&str, &[&str]); 2] = [
    ("x86_64", &["x86_64", "amd64"]),
    ("aarch64", &["aarch64", "arm64"]),
];

/// A helper program in a file here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The architecture it is for.
    pub(crate) arch: &'static str,
    /// Its SHA-256 in hexadecimal digits.
    pub(crate) hash: String,
    /// The file itself.
    pub(crate) plain: Upload,
    /// The same, packed by gzip, where that lies beside it: `<file>.<first 16 digits of the hash>.gz`. The name says
    /// what it was made of, so that a packed file of another build is not taken for it.
    pub(crate) packed: Option<Upload>,
}

/// A file that can be sent to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) path: PathBuf,
    /// In bytes.
    pub(crate) size: u64,
}

/// What was found out about a file, and of which state of it.
#[derive(Debug, Clone)]
struct Known {
    modified: SystemTime,
    size: u64,
    hash: String,
}

/// Hashes of files that did not change since. There are only ever a few.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

/// The program for each architecture there is one for, from the first directory that has it: the static one, else the
/// plain one where its platform is that of this process.
///
/// # Errors
/// When there is none at all, or one cannot be read.
pub(crate) async fn find(libraries: &[PathBuf]) -> Result<Vec<Program>, ConnectError> {
    let libraries = libraries.to_vec();
    let found = tokio::task::spawn_blocking(move || look(&libraries)).await;
    let programs = found
        .map_err(io::Error::other)
        .and_then(|found| found)
        .map_err(|error| {
            ConnectError::new(
                Cause::Misconfigured,
                format!("reading the helper programs of this installation: {error}"),
            )
        })?;
    if programs.is_empty() {
        let error = ConnectError::new(Cause::Misconfigured, "no helper program is installed here");
        return Err(error.with_hint("outlast-helper belongs beside outlastd: install outlast again"));
    }
    Ok(programs)
}

fn look(libraries: &[PathBuf]) -> io::Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (arch, _) in ARCHITECTURES {
        let static_name = format!("outlast-helper-{arch}-linux-musl");
        let plain = (arch == env::consts::ARCH && cfg!(target_os = "linux")).then_some("outlast-helper");
        let names = [Some(static_name.as_str()), plain];
        let file = names.into_iter().flatten().find_map(|name| {
            let paths = libraries.iter().map(|dir| dir.join(name));
            paths.into_iter().find(|path| path.is_file())
        });
        if let Some(path) = file {
            let (hash, size) = facts(&path)?;
            programs.push(Program {
                arch,
                packed: packed(&path, &hash),
                hash,
                plain: Upload { path, size },
            });
        }
    }
    Ok(programs)
}

/// What a file is packed as, where it is.
fn packed(path: &Path, hash: &str) -> Option<Upload> {
    let mut name = path.file_name()?.to_owned();
    name.push(format!(".{}.gz", hash.get(..16)?));
    let path = path.with_file_name(name);
    let size = path.metadata().ok().filter(|meta| meta.is_file())?.len();
    Some(Upload { path, size })
}

/// Hash and size of a file, read only when it changed.
fn facts(path: &Path) -> io::Result<(String, u64)> {
    let meta = path.metadata()?;
    let (modified, size) = (meta.modified()?, meta.len());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known().get(path)
        && known.modified == modified
        && known.size == size
    {
        return Ok((known.hash.clone(), size));
    }
    let hash = installed::hash(path)?;
    let now = Known {
        modified,
        size,
        hash: hash.clone(),
    };
    known().insert(path.to_owned(), now);
    Ok((hash, size))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn the_static_one_comes_before_the_plain_one_and_only_its_own_platform_fits() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let libraries = [first.path().to_owned(), second.path().to_owned()];
        let none = find(&libraries).await.unwrap_err();
        assert_eq!(none.cause, Cause::Misconfigured);

        fs::write(second.path().join("outlast-helper"), "plain").unwrap();
        let found = find(&libraries).await.unwrap();
        let arches: Vec<_> = found.iter().map(|program| program.arch).collect();
        assert_eq!(arches, [env::consts::ARCH]);

        for (arch, _) in ARCHITECTURES {
            fs::write(
                second.path().join(format!("outlast-helper-{arch}-linux-musl")),
                arch,
            )
            .unwrap();
        }
        fs::write(first.path().join("outlast-helper-aarch64-linux-musl"), "first").unwrap();
        let found = find(&libraries).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].plain.path,
            second.path().join("outlast-helper-x86_64-linux-musl")
        );
        assert_eq!(
            found[1].plain.path,
            first.path().join("outlast-helper-aarch64-linux-musl")
        );
        assert_eq!(found[1].plain.size, 5);
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("outlast-helper-x86_64-linux-musl");
        let libraries = [dir.path().to_owned()];
        fs::write(&file, "one").unwrap();
        let one = find(&libraries).await.unwrap().remove(0);
        assert_eq!(find(&libraries).await.unwrap(), std::slice::from_ref(&one));
        fs::write(&file, "three").unwrap();
        let three = find(&libraries).await.unwrap().remove(0);
        assert_ne!(one.hash, three.hash);
        // What was packed of another build is not taken.
        let packed = |of: &Program| {
            dir.path()
                .join(format!("outlast-helper-x86_64-linux-musl.{}.gz", &of.hash[..16]))
        };
        fs::write(packed(&one), "old").unwrap();
        assert_eq!(find(&libraries).await.unwrap()[0].packed, None);
        fs::write(packed(&three), "new").unwrap();
        let expected = Upload {
            path: packed(&three),
            size: 3,
        };
        assert_eq!(find(&libraries).await.unwrap()[0].packed, Some(expected));
        assert_eq!(three.plain.size, 5);
    }
}
