//! What a sync would do to what is in its target already, shown and asked about before it begins.

use std::time::Duration;

use outlast_client::v1::{self, ErrorKind, PreviewSyncRequest, PreviewSyncResponse, SyncPaths, SyncSpec};

use crate::{
    ask,
    context::Context,
    error::{Failure, Result},
    pump::remark,
    render::{
        escape::escape,
        sync::{count, kinds},
    },
};

/// How long looking at both sides may take: as long as a large tree on a slow disk.
pub const LOOKED_WITHIN: Duration = Duration::from_secs(600);

/// Looks at both sides.
async fn look(ctx: &Context, request: PreviewSyncRequest) -> Result<PreviewSyncResponse> {
    ctx.call_within(LOOKED_WITHIN, request, |daemon, request| async move {
        daemon.syncs().preview_sync(request).await
    })
    .await
}

/// What going on would do to what the target of a halted sync holds.
///
/// # Errors
/// When it is not halted for that, or its host is away.
pub async fn of(ctx: &Context, sync: &v1::Sync) -> Result<PreviewSyncResponse> {
    let request = PreviewSyncRequest {
        spec: None,
        sync: Some(sync.id.clone()),
    };
    look(ctx, request).await
}

/// The same as text that is not to be escaped any more.
pub fn text(sync: &v1::Sync, seen: &PreviewSyncResponse) -> String {
    match summary(&sync.host, seen) {
        Some(summary) => format!("{}\n{}", escape(&summary), lists(seen)),
        None => format!(
            "{}:{} holds nothing any more\n",
            escape(&sync.host),
            escape(&seen.target)
        ),
    }
}

/// Looks at both sides. True when the target holds something, and that was agreed to; false when there is nothing to
/// agree to, or it cannot be looked at because the host is away.
///
/// # Errors
/// When nobody agrees, or both sides cannot be looked at for another reason.
pub async fn agree(ctx: &Context, spec: &SyncSpec) -> Result<bool> {
    let request = PreviewSyncRequest {
        spec: Some(spec.clone()),
        sync: None,
    };
    let seen = match look(ctx, request).await {
        Ok(seen) => seen,
        Err(failure) if failure.is_unreachable() => {
            let host = &spec.host;
            ctx.note(&format!(
                "host {host} is away, so what is in {host}:{} already cannot be looked at; if it holds something the sync \
                 halts and asks",
                spec.target
            ));
            return Ok(false);
        }
        Err(failure) => return Err(failure),
    };
    if seen.problem_count > 0 {
        let untold = seen.problem_count.saturating_sub(seen.problems.len() as u64);
        ctx.note(&format!(
            "{} would be left out: {}",
            count(seen.problem_count, "path"),
            kinds(&seen.problems, untold)
        ));
    }
    let Some(summary) = summary(&spec.host, &seen) else {
        return Ok(false);
    };
    let asking = ask::can(ctx) && !ctx.global.yes;
    if asking {
        remark(&format!("{}\n{}", escape(&summary), lists(&seen)));
        let typed = ask::line("Go on? [y/N] ", true).await?;
        return match typed.as_deref().map(|typed| typed.trim().to_ascii_lowercase()) {
            Some(yes) if yes == "y" || yes == "yes" => Ok(true),
            _ => {
                remark("nothing was done\n");
                Err(Failure::Exit(1))
            }
        };
    }
    if !ctx.global.quiet && !ctx.global.json {
        remark(&lists(&seen));
    }
    if ctx.global.yes {
        ctx.note(&summary);
        return Ok(true);
    }
    Err(Failure::new(ErrorKind::WrongState, summary)
        .hint("--adopt takes it as it is, and replaces what differs")
        .about(format!("{}:{}", spec.host, seen.target)))
}

fn paths(paths: Option<&SyncPaths>) -> (u64, &[String]) {
    paths.map_or((0, &[]), |paths| (paths.count, &paths.some))
}

/// What there is in one sentence. None when there is nothing.
fn summary(host: &str, seen: &PreviewSyncResponse) -> Option<String> {
    let of = |which| paths(which).0;
    let (same, differ, extra) = (
        of(seen.same.as_ref()),
        of(seen.differ.as_ref()),
        of(seen.extra.as_ref()),
    );
    let all = same + differ + extra;
    if all == 0 {
        return None;
    }
    let mut parts = Vec::new();
    let mut part = |number: u64, one: &str, many: &str| match number {
        0 => {}
        1 => parts.push(format!("1 {one}")),
        _ => parts.push(format!("{number} {many}")),
    };
    part(same, "is as here", "are as here");
    part(
        differ,
        "differs and would be replaced",
        "differ and would be replaced",
    );
    part(extra, "other stays", "others stay");
    Some(format!(
        "{host}:{} has {} already: {}",
        seen.target,
        count(all, "thing"),
        parts.join(", ")
    ))
}

/// Some names of each.
fn lists(seen: &PreviewSyncResponse) -> String {
    let mut text = String::new();
    for (title, which) in [
        ("would be replaced", &seen.differ),
        ("stay", &seen.extra),
        ("as here", &seen.same),
    ] {
        let (number, some) = paths(which.as_ref());
        if some.is_empty() {
            continue;
        }
        text.push_str(&format!("{title}:\n"));
        for path in some {
            text.push_str(&format!("  {}\n", escape(path)));
        }
        let more = number.saturating_sub(some.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_said_in_one_sentence() {
        let some = |count| {
            Some(SyncPaths {
                count,
                some: Vec::new(),
            })
        };
        let said = |same, differ, extra| {
            let seen = PreviewSyncResponse {
                target: "/srv/app".to_owned(),
                same: some(same),
                differ: some(differ),
                extra: some(extra),
                ..PreviewSyncResponse::default()
            };
            summary("box", &seen)
        };
        assert_eq!(said(0, 0, 0), None);
        assert_eq!(
            said(5, 3, 4).unwrap(),
            "box:/srv/app has 12 things already: 5 are as here, 3 differ and would be replaced, 4 others stay"
        );
        assert_eq!(
            said(0, 1, 0).unwrap(),
            "box:/srv/app has 1 thing already: 1 differs and would be replaced"
        );
    }
}
