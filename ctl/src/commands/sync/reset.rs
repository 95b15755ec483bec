//! `sync reset`: what is known of both sides is forgotten, and they are compared by content; or conflicts are decided one by
//! one.

use std::path::Path;

use outlast_client::v1::{self, ResetSyncRequest};

use crate::{
    cli::SyncReset,
    context::{Context, request_id},
    error::{Failure, Result},
};

/// All of the source.
const ALL: &str = ".";

pub async fn reset(ctx: &Context, args: SyncReset) -> Result<u8> {
    let adopt = !args.adopt.is_empty();
    let wanted: Vec<String> = args.adopt.iter().filter(|path| *path != ALL).cloned().collect();
    if !wanted.is_empty() && (wanted.len() < args.adopt.len() || args.names.len() > 1) {
        return Err(
            Failure::usage("paths to adopt are those of one sync, and not all of it").hint(format!(
                "outlast sync reset {} --adopt={}",
                args.names[0], wanted[0]
            )),
        );
    }
    let wanted = &wanted;
    super::of_each(ctx, &args.names, |name| async move {
        let (sync, paths) = if wanted.is_empty() {
            (name, Vec::new())
        } else {
            let sync = super::find(ctx, &name).await?;
            let paths: Result<_> = wanted.iter().map(|path| below(&sync, path)).collect();
            (sync.id, paths?)
        };
        let what = match (adopt, paths.as_slice()) {
            (false, _) => "begins anew: both sides are compared by content".to_owned(),
            (true, []) => "begins anew, and what differs is replaced".to_owned(),
            (true, paths) => format!("replaces what is there at {}", paths.join(", ")),
        };
        let request = ResetSyncRequest {
            request_id: request_id(),
            sync,
            adopt,
            paths,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.syncs().reset_sync(request).await
            })
            .await?;
        super::done(ctx, &super::sent(done.sync, "sync")?, &what)
    })
    .await
}

/// A path as the sync names it: below its source.
fn below(sync: &v1::Sync, typed: &str) -> Result<String> {
    let path = Path::new(typed);
    let below = if path.is_absolute() {
        path.strip_prefix(&sync.source).ok()
    } else {
        Some(path)
    };
    // Each part once, without what means the directory itself.
    let below = below.map(|path| path.components().collect::<std::path::PathBuf>());
    let below = below.and_then(|path| {
        let path = path.strip_prefix(ALL).map(Path::to_owned).unwrap_or(path);
        path.into_os_string().into_string().ok()
    });
    below.filter(|path| !path.is_empty()).ok_or_else(|| {
        Failure::usage(format!("--adopt={typed}: it is no path below {}", sync.source))
            .hint(format!("outlast sync show {} --all", sync.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_from_the_source_on() {
        let sync = v1::Sync {
            source: "/home/me/app".to_owned(),
            ..v1::Sync::default()
        };
        for (typed, named) in [
            ("src/a.c", "src/a.c"),
            ("./src//a.c", "src/a.c"),
            ("src/", "src"),
            ("/home/me/app/src/a.c", "src/a.c"),
        ] {
            assert_eq!(below(&sync, typed).unwrap(), named);
        }
        for bad in ["", "/home/me/apple", "/home/me/app", "./"] {
            assert!(below(&sync, bad).is_err(), "{bad:?}");
        }
    }
}
