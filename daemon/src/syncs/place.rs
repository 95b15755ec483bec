//! Whether a directory of this machine may be a source, and lies apart from a target on this machine. Blocking.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::admission;
use outlast_sync::rules::{Places, Rules, RulesConfig};

use super::NewSync;
use crate::{hosts::LOCAL, refusal};

/// Checks what can be seen from here; the source without symbolic links.
///
/// # Errors
/// When the source is no directory or may not be one, it overlaps with a target on this machine, or a pattern is none.
pub(super) fn check(new: &NewSync) -> Result<String, Error> {
    let places = Places::of_process();
    let source = source(&new.source)?;
    let text = source.to_str().ok_or_else(|| {
        unusable(
            &new.source,
            "its name, or that of a directory above it, is no UTF-8",
        )
    })?;
    let target = match (new.host.as_str(), &places.home) {
        (LOCAL, Some(home)) => here(&home.join(&new.target)),
        (LOCAL, None) => here(Path::new(&new.target)),
        _ => PathBuf::from(&new.target),
    };
    let denied = |denied: admission::sync::Denied| refusal::denied(&denied.into(), None);
    admission::sync::places(text, &new.host, &target.to_string_lossy()).map_err(denied)?;
    if new.host == LOCAL && (holds(&source, &target) || holds(&target, &source)) {
        return Err(denied(admission::sync::Denied::Overlap {
            source_dir: text.to_owned(),
            target: target.to_string_lossy().into_owned(),
        }));
    }
    let rules = RulesConfig {
        exclude: new.exclude.clone(),
        no_gitignore: new.no_gitignore,
        git_dir: new.git_dir,
    };
    match Rules::open(&source, &rules, &places) {
        Ok(_rules) => Ok(text.to_owned()),
        Err(error) => Err(Error::new(ErrorKind::Usage, error.to_string()).with_hint(
            "give each pattern an --exclude of its own, or put them into a file .outlastignore in the source",
        )),
    }
}

fn source(path: &str) -> Result<PathBuf, Error> {
    let source = fs::canonicalize(path).map_err(|error| unusable(path, &error.to_string()))?;
    if !source.is_dir() {
        return Err(unusable(path, "it is not a directory"));
    }
    // What cannot be listed can only look empty.
    fs::read_dir(&source).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(source)
}

fn unusable(path: &str, problem: &str) -> Error {
    let message = format!("the source {path:?} cannot be used: {problem}");
    Error::new(ErrorKind::Usage, message)
        .with_hint("name a directory that is there and that you can read")
        .about(path)
}

/// Whether one of two directories of this machine is the other or lies in it, by their names or by whatever else they are.
pub(super) fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one) || holds(one, other) || holds(other, one)
}

/// A path of this machine without symbolic links, as far as it is there.
pub(super) fn here(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path.to_owned()
}

/// The pattern that leaves a directory out of a source. None: it is not in it.
pub(super) fn pattern(source: &Path, dir: &Path) -> Option<String> {
    let real = here(dir);
    let below = real.strip_prefix(source).ok()?.to_str()?;
    if below.is_empty() {
        return None;
    }
    let mut pattern = "/".to_owned();
    for letter in below.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\' | '!' | '#' | ' ') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    Some(pattern)
}

/// Whether a directory is another or lies in it, by whatever name: one may be mounted twice.
fn holds(outer: &Path, inner: &Path) -> bool {
    let identity = |path: &Path| -> io::Result<(u64, u64)> {
        let meta = fs::metadata(path)?;
        Ok((meta.dev(), meta.ino()))
    };
    let Ok(outer) = identity(outer) else {
        return false;
    };
    inner
        .ancestors()
        .any(|above| identity(above).is_ok_and(|above| above == outer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_model::sync::SyncMode;
    use std::os::unix::fs::symlink;

    fn new(source: &Path, host: &str, target: &Path) -> NewSync {
        NewSync {
            name: None,
            source: source.to_str().unwrap().to_owned(),
            host: host.to_owned(),
            target: target.to_str().unwrap().to_owned(),
            mode: SyncMode::Mirror,
            exclude: Vec::new(),
            no_gitignore: false,
            git_dir: false,
            limit_bytes: None,
            adopt: false,
        }
    }

    #[test]
    fn a_source_is_a_directory_that_is_there_by_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        let target = Path::new("/t");
        assert_eq!(
            check(&new(&base.join("link"), "far", target)).as_deref(),
            Ok(base.join("real").to_str().unwrap())
        );
        for bad in [&base.join("none"), &base.join("file"), Path::new("/")] {
            let error = check(&new(bad, "far", target)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad:?}");
        }
        let pattern = NewSync {
            exclude: vec!["a\nb".to_owned()],
            ..new(&base, "far", target)
        };
        let error = check(&pattern).unwrap_err();
        assert!(error.message.contains("--exclude"), "{error:?}");
    }

    #[test]
    fn on_this_machine_neither_lies_in_the_other_by_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let source = base.join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        symlink("source/sub", base.join("way in")).unwrap();
        for target in [
            source.clone(),
            source.join("none/yet"),
            base.clone(),
            base.join("way in"),
            base.join("way in/none/yet"),
        ] {
            let error = check(&new(&source, LOCAL, &target)).unwrap_err();
            assert!(error.message.contains("overlap"), "{target:?}: {error:?}");
            assert!(check(&new(&source, "far", &target)).is_ok(), "{target:?}");
        }
        assert!(check(&new(&source, LOCAL, &base.join("other"))).is_ok());
    }

    #[test]
    fn what_is_outlasts_own_is_left_out_of_a_source() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        assert_eq!(
            pattern(&base, &base.join(".local/state/out*last")).as_deref(),
            Some("/.local/state/out\\*last")
        );
        assert_eq!(pattern(&base.join("other"), &base.join("state")), None);
        assert_eq!(pattern(&base, &base), None);
    }
}
