//! What a job or session takes along from here: environment and directory.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
};

use crate::{
    context::Context,
    error::{Failure, Result},
};

/// The name of the machine the daemon runs on.
const LOCAL: &str = "local";

/// What a program takes along.
#[derive(Debug, Default)]
pub struct Baggage {
    /// The whole environment; empty for other machines.
    pub base: HashMap<String, String>,
    /// What `-e` sets on top of it.
    pub set: HashMap<String, String>,
    /// Absolute directory; none means the home directory.
    pub cwd: Option<String>,
}

/// Packs for a host.
pub fn pack(ctx: &Context, host: Option<&str>, cwd: Option<&Path>, sets: &[String]) -> Result<Baggage> {
    let local = host.is_none_or(|host| host == LOCAL);
    Ok(Baggage {
        base: base(ctx, host),
        set: sets.iter().map(|set| assignment(set)).collect::<Result<_>>()?,
        cwd: directory(local, cwd)?,
    })
}

/// The whole environment for something on a host; empty for other machines.
pub fn base(ctx: &Context, host: Option<&str>) -> HashMap<String, String> {
    if host.is_none_or(|host| host == LOCAL) {
        own(ctx)
    } else {
        HashMap::new()
    }
}

/// This process's environment, less what belongs to tmux and to outlast itself.
fn own(ctx: &Context) -> HashMap<String, String> {
    let mut dropped = Vec::new();
    let mut own = HashMap::new();
    for (name, value) in env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), _) if name.starts_with("TMUX") || name.starts_with("OUTLAST_") => {}
            (Ok(name), Ok(value)) => {
                own.insert(name, value);
            }
            (Ok(name), Err(_)) => dropped.push(name),
            (Err(name), _) => dropped.push(name.to_string_lossy().into_owned()),
        }
    }
    if !dropped.is_empty() {
        dropped.sort();
        ctx.warn(&format!(
            "these variables are not UTF-8 and are left out: {}",
            dropped.join(", ")
        ));
    }
    own
}

/// Reads `K=V`, or `K` for the value it has here.
fn assignment(text: &str) -> Result<(String, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = env::var(text).map_err(|_unset_or_not_utf8| {
                Failure::usage(format!("-e {text}: the variable is not set here"))
                    .hint(format!("-e {text}=VALUE"))
            })?;
            (text, value)
        }
    };
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        let problem = format!("-e {text}: a variable looks like NAME=VALUE");
        return Err(Failure::usage(problem).hint("-e NAME=VALUE, or -e NAME for the value it has here"));
    }
    Ok((name.to_owned(), value))
}

fn directory(local: bool, cwd: Option<&Path>) -> Result<Option<String>> {
    let path = match (cwd, local) {
        (Some(path), true) => std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("--cwd {}: {error}", path.display())))?,
        (Some(path), false) if path.is_absolute() => path.to_owned(),
        (Some(path), false) => {
            let problem = format!(
                "--cwd {}: on another host the directory has to be absolute",
                path.display()
            );
            return Err(Failure::usage(problem).hint("give the whole path, from / on"));
        }
        (None, true) => here()?,
        (None, false) => return Ok(None),
    };
    match path.into_os_string().into_string() {
        Ok(path) => Ok(Some(path)),
        Err(path) => Err(
            Failure::usage(format!("the directory {} is not UTF-8", path.to_string_lossy()))
                .hint("name another with --cwd"),
        ),
    }
}

/// This directory, by the name the user came by when that is still true.
fn here() -> Result<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let real = env::current_dir().map_err(|error| {
        Failure::usage(format!("this directory cannot be told: {error}")).hint("name one with --cwd")
    })?;
    let named = env::var_os("PWD").map(PathBuf::from).filter(|named| {
        let same = || {
            let (named, real) = (named.metadata().ok()?, real.metadata().ok()?);
            Some(named.dev() == real.dev() && named.ino() == real.ino())
        };
        named.is_absolute() && same() == Some(true)
    });
    Ok(named.unwrap_or(real))
}
