//! `--sync` of `run` and `session create`: everything is brought to the host first, and the work is started there, in the
//! directory that mirrors this one.

use std::path::{Path, PathBuf};

use outlast_client::v1::{self, ErrorKind};

use super::arrival::{Arrival, IfAway, follow};
use crate::{
    cli::{InSync, SyncFailure},
    context::Context,
    error::{Failure, Result},
    follow::waiting,
    render::sync::place,
};

/// Where work runs that runs in a sync.
#[derive(Debug)]
pub struct Ready {
    pub host: String,
    /// Directory there. None when another was asked for.
    pub cwd: Option<PathBuf>,
}

/// What to start behind a flush.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// What it is, as in "the job".
    pub what: &'static str,
    /// What a failed flush means to it unless that is said.
    pub failure: SyncFailure,
    /// Somebody stays and waits for it, and so may for a host that is away. Nothing waits in the place of somebody who does
    /// not: what is queued on a host starts when that is back, and not when everything is there.
    pub waits: bool,
    /// What is typed to stay.
    pub waiting: &'static str,
    /// The host that was asked for.
    pub host: Option<&'a str>,
    /// The directory that was asked for.
    pub cwd: Option<&'a Path>,
}

/// Brings everything to the host of the sync that was asked for, if one was, and tells where the work is to run.
///
/// # Errors
/// When there is no such sync, it goes to another host than was asked for, or the flush failed and that matters.
pub async fn ready(ctx: &Context, wanted: &InSync, work: Work<'_>) -> Result<Option<Ready>> {
    let Some(named) = &wanted.sync else {
        return Ok(None);
    };
    let here = std::env::current_dir().map_err(|error| {
        Failure::usage(format!("this directory cannot be told: {error}"))
            .hint("cd to a directory that is there")
    })?;
    let mut sync = match named {
        Some(name) => {
            let found = super::find(ctx, name).await;
            found.map_err(|failure| super::helped(failure, name))?
        }
        None => of_directory(super::all(ctx).await?, &here, work.host)?,
    };
    if let Some(host) = work.host.filter(|host| *host != sync.host) {
        let message = format!(
            "--host {host}: sync {} goes to host {}, and --sync runs there",
            sync.name, sync.host
        );
        return Err(Failure::usage(message).hint("leave out --host, or name another sync with --sync=NAME"));
    }
    let failure = wanted.sync_failure.unwrap_or(work.failure);
    let if_away = if work.waits && failure == SyncFailure::Fail {
        IfAway::Wait
    } else {
        IfAway::Fail
    };
    match flush(ctx, &sync, if_away, work.what).await? {
        Ok(now) => sync = now,
        Err(failed) if failure == SyncFailure::Warn => {
            let why = failed.message().unwrap_or("it failed").to_owned();
            ctx.warn(&format!(
                "sync {}: {why}; {} starts all the same",
                sync.name, work.what
            ));
        }
        Err(failed) => {
            let hint = format!("outlast sync show {}", sync.name);
            let is_away = failed.is_unreachable();
            let failed = failed
                .before(&format!("{} was not started", work.what))
                .hint_else(hint)
                .also("--sync-failure warn starts it all the same");
            return Err(if is_away {
                failed.also(work.waiting)
            } else {
                failed
            });
        }
    }
    let cwd = match work.cwd {
        Some(_) => None,
        None => Some(directory(&sync, &here)?),
    };
    Ok(Some(Ready { host: sync.host, cwd }))
}

/// Waits until everything is there. The inner failure is the flush's own; the outer one is that nobody waits any more.
async fn flush(
    ctx: &Context,
    sync: &v1::Sync,
    if_away: IfAway,
    work: &str,
) -> Result<std::result::Result<v1::Sync, Failure>> {
    let resume = format!("outlast sync flush {}", sync.name);
    let what = format!("{work} was not started; sync {} goes on", sync.name);
    let flush = async { Ok(follow(ctx, &sync.id, if_away, &resume).await) };
    let arrival = Box::pin(waiting(ctx, None, &what, || resume.clone(), flush)).await?;
    Ok(match arrival {
        Ok(Arrival::There(end, took)) => match Arrival::outcome(&end, took) {
            Ok(line) => {
                ctx.note(&line);
                Ok(*end)
            }
            Err(failed) => Err(failed),
        },
        // It is waited for, or fails.
        Ok(Arrival::Away(..)) => Ok(sync.clone()),
        Err(failed) => Err(failed),
    })
}

/// The sync whose source this directory is in: the deepest.
fn of_directory(syncs: Vec<v1::Sync>, here: &Path, host: Option<&str>) -> Result<v1::Sync> {
    let mut fitting: Vec<v1::Sync> = syncs
        .into_iter()
        .filter(|sync| here.starts_with(&sync.source))
        .collect();
    let depth = |sync: &v1::Sync| Path::new(&sync.source).components().count();
    let deepest = fitting.iter().map(depth).max().unwrap_or(0);
    fitting.retain(|sync| depth(sync) == deepest);
    if fitting.len() > 1
        && let Some(host) = host
        && fitting.iter().any(|sync| sync.host == host)
    {
        fitting.retain(|sync| sync.host == host);
    }
    let names: Vec<&str> = fitting.iter().map(|sync| sync.name.as_str()).collect();
    match names.as_slice() {
        [] => Err(
            Failure::new(ErrorKind::NotFound, format!("{} is in no sync", here.display()))
                .hint("outlast sync add . HOST:PATH"),
        ),
        [_] => Ok(fitting.swap_remove(0)),
        [first, ..] => Err(Failure::new(
            ErrorKind::Conflict,
            format!("{} is in several syncs: {}", here.display(), names.join(", ")),
        )
        .hint(format!("--sync={first}"))),
    }
}

/// The directory on the host that mirrors this one; the target when this one is not below the source.
fn directory(sync: &v1::Sync, here: &Path) -> Result<PathBuf> {
    let target = Path::new(&sync.target);
    if !target.is_absolute() {
        let message = format!(
            "where {} is cannot be told before host {} was reached",
            place(sync),
            sync.host
        );
        return Err(Failure::new(ErrorKind::WrongState, message)
            .hint("--cwd with an absolute directory there")
            .about(&sync.id));
    }
    Ok(match here.strip_prefix(&sync.source) {
        Ok(below) if !below.as_os_str().is_empty() => target.join(below),
        _ => target.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(name: &str, source: &str, host: &str) -> v1::Sync {
        v1::Sync {
            name: name.to_owned(),
            source: source.to_owned(),
            host: host.to_owned(),
            target: "/srv/app".to_owned(),
            ..v1::Sync::default()
        }
    }

    #[test]
    fn the_deepest_sync_around_a_directory_is_meant() {
        let syncs = || {
            vec![
                sync("home", "/home/me", "box"),
                sync("app", "/home/me/app", "box"),
                sync("app2", "/home/me/app", "other"),
                sync("apple", "/home/me/apple", "box"),
            ]
        };
        let of = |here: &str, host| of_directory(syncs(), Path::new(here), host).map(|sync| sync.name);
        assert_eq!(of("/home/me/apple/src", None).unwrap(), "apple");
        assert_eq!(of("/home/me", None).unwrap(), "home");
        assert_eq!(of("/home/me/app/src", Some("other")).unwrap(), "app2");
        let failure = of("/home/me/app", None).unwrap_err();
        assert_eq!(
            failure.message(),
            Some("/home/me/app is in several syncs: app, app2")
        );
        assert!(of("/tmp", None).unwrap_err().is_not_found());
    }

    #[test]
    fn the_directory_there_is_as_deep_as_the_one_here() {
        let app = sync("app", "/home/me/app", "box");
        for (here, there) in [
            ("/home/me/app", "/srv/app"),
            ("/home/me/app/a/b", "/srv/app/a/b"),
            ("/tmp", "/srv/app"),
        ] {
            assert_eq!(directory(&app, Path::new(here)).unwrap(), Path::new(there));
        }
        let unknown = v1::Sync {
            target: "app".to_owned(),
            ..app
        };
        assert!(directory(&unknown, Path::new("/tmp")).is_err());
    }
}
