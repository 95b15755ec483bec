//! `sync add`: a mirror from now on. What is there already is looked at and asked about first; then the first copy is
//! followed, which goes on without this.

use outlast_client::v1::{self, CreateSyncRequest, SyncSpec};

use super::{
    arrival::{Arrival, IfAway, away, follow, refuses},
    ends, preview, sent,
};
use crate::{
    cli::{SyncAdd, SyncMode},
    context::{Context, request_id},
    error::{Failure, Result},
    follow::{Interrupt, left, waiting},
    pump::answer,
    render::{escape::escape, json},
};

pub async fn add(ctx: &Context, args: SyncAdd) -> Result<u8> {
    // On the heap: it is large, and part of the command.
    Box::pin(added(ctx, args)).await.map_err(|failure| {
        let help = if failure.is_usage() {
            "outlast sync add --help"
        } else {
            "outlast daemon logs"
        };
        failure.hint_else(help)
    })
}

async fn added(ctx: &Context, args: SyncAdd) -> Result<u8> {
    let (name, spec) = wanted(&args)?;
    let mut interrupt = Interrupt::take_over()?;
    let adopt = args.adopt || {
        // On the heap: it is large, and part of the command.
        let agreed = Box::pin(preview::agree(ctx, &spec));
        tokio::select! {
            biased;
            () = interrupt.pressed() => return Err(left(ctx, "nothing was done")),
            agreed = agreed => agreed?,
        }
    };
    let request = CreateSyncRequest {
        request_id: request_id(),
        name,
        spec: Some(spec),
        adopt,
    };
    let create = ctx.call(request, |daemon, request| async move {
        daemon.syncs().create_sync(request).await
    });
    let sync = tokio::select! {
        biased;
        () = interrupt.pressed() => {
            return Err(left(ctx, "the sync may have been added or not; see: outlast sync list"));
        }
        created = create => sent(created?.sync, "sync")?,
    };
    if !ctx.global.json {
        answer(&format!("{}\n", escape(&sync.name)))?;
    }
    let show = format!("outlast sync show {}", sync.name);
    if let Some(link) = away(&sync) {
        return accepted(ctx, &sync, &when_back(&sync, &link));
    }
    if args.no_wait {
        return accepted(ctx, &sync, &format!("goes on by itself; see: {show}"));
    }
    let what = format!("sync {} goes on", sync.name);
    let copy = follow(ctx, &sync.id, IfAway::Leave, &show);
    let copied = waiting(ctx, args.timeout, &what, || show.clone(), copy);
    match Box::pin(copied)
        .await
        .map_err(|failure| failure.hint_else(show.clone()))?
    {
        Arrival::Away(now, link) => accepted(ctx, &now, &when_back(&now, &link)),
        Arrival::There(end, took) => {
            if ctx.global.json {
                answer(&json::line(&json::Sync::from(&*end)))?;
            }
            ctx.note(&Arrival::outcome(&end, took)?);
            Ok(0)
        }
    }
}

/// It is accepted, and nobody waits for it.
fn accepted(ctx: &Context, sync: &v1::Sync, what: &str) -> Result<u8> {
    super::done(ctx, sync, what)?;
    Ok(0)
}

fn when_back(sync: &v1::Sync, link: &str) -> String {
    if refuses(sync.link()) {
        let host = &sync.host;
        return format!(
            "was added and goes on when host {host} can be logged in to ({link}); see: outlast host check {host}"
        );
    }
    format!(
        "was added and goes on by itself when host {} is back; it is away ({link}); see: outlast sync show {}",
        sync.host, sync.name
    )
}

/// The name that was given, if any, and what the sync is to be.
fn wanted(args: &SyncAdd) -> Result<(Option<String>, SyncSpec)> {
    let (name, local, place) = match args.places.as_slice() {
        [local, place] => (None, local, place),
        [name, local, place] => (Some(name.clone()), local, place),
        [one] => {
            let missing = if one.contains(':') {
                "the directory here"
            } else {
                "where it goes"
            };
            return Err(
                Failure::usage(format!("{one}: {missing} is missing")).hint("outlast sync add . HOST:PATH")
            );
        }
        _ => {
            return Err(
                Failure::usage("a sync has one directory here and one place it goes to")
                    .hint("outlast sync add NAME LOCAL HOST:PATH"),
            );
        }
    };
    let (host, target) = ends::target(place)?;
    let mut spec = SyncSpec {
        source: ends::source(local)?,
        host,
        target,
        exclude: args.exclude.clone(),
        no_gitignore: args.no_gitignore,
        git_dir: args.git,
        limit_bytes: args.limit,
        ..SyncSpec::default()
    };
    spec.set_mode(match args.mode {
        SyncMode::Mirror => v1::SyncMode::Mirror,
        SyncMode::Update => v1::SyncMode::Update,
    });
    Ok((name, spec))
}
