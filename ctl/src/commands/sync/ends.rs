//! The two ends of a sync as they are typed: a directory here, and `HOST:PATH`.

use std::path::Path;

use crate::error::{Failure, Result};

/// The name of the machine the daemon runs on.
const LOCAL: &str = "local";

/// A directory of this machine, as the daemon is told it: absolute, and by its real name.
///
/// # Errors
/// When it is not there, is no directory, or its name is not UTF-8.
pub fn source(typed: &str) -> Result<String> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{typed}: {why}"))
            .hint("name a directory that is there: outlast sync add . HOST:PATH")
    };
    let real = Path::new(typed).canonicalize().map_err(|error| bad(&error))?;
    if !real.is_dir() {
        return Err(bad(&"it is no directory, and only directories are kept in sync"));
    }
    real.into_os_string()
        .into_string()
        .map_err(|_not_utf8| bad(&"the path is not UTF-8"))
}

/// Splits `HOST:PATH` at the first colon. What the path means there the daemon knows.
///
/// # Errors
/// When a part is missing, or the path is one that nobody can resolve.
pub fn target(typed: &str) -> Result<(String, String)> {
    let bad = |why: &str| Failure::usage(format!("{typed}: {why}"));
    let Some((host, path)) = typed.split_once(':') else {
        return Err(
            bad("a target is a host and a directory on it, and this names no host")
                .hint(format!("{LOCAL}:{typed}")),
        );
    };
    if host.is_empty() {
        return Err(bad("the host before the colon is missing").hint(format!("{LOCAL}:{path}")));
    }
    if path.is_empty() {
        return Err(bad("the directory behind the colon is missing").hint(format!(
            "{host}:/absolute/path, or {host}:path below the home directory there"
        )));
    }
    if path.starts_with('~') && path != "~" && !path.starts_with("~/") {
        return Err(
            bad("only one's own home directory can be meant by ~").hint(format!("{host}:/absolute/path"))
        );
    }
    Ok((host.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_splits_at_the_first_colon() {
        for (typed, host, path) in [
            ("box:/srv/app", "box", "/srv/app"),
            ("box:app", "box", "app"),
            ("box:~/app", "box", "~/app"),
            ("local:a:b", "local", "a:b"),
        ] {
            assert_eq!(target(typed).unwrap(), (host.to_owned(), path.to_owned()));
        }
        for typed in ["box", "/srv/app", "", "box:", ":/srv", ":", "box:~me/app"] {
            assert!(target(typed).is_err(), "{typed}");
        }
    }
}
