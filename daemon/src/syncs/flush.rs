//! Waiting until everything is on the host, and telling how far it is.

use std::{sync::Arc, time::Duration};

use outlast_client::v1::{self, Error, ErrorKind, FlushSyncResponse, flush_sync_response::Event};
use outlast_model::{admission, sync::Sync};
use outlast_sync::engine::Refused;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::{Syncs, driver::Command};
use crate::{
    hosts::Host,
    refusal,
    retry::Backoff,
    rpc::{host::not_connected, relay},
};

/// Messages that may wait for the client. Only the newest tells anything, so there is no use in more.
pub const QUEUE: usize = 2;

/// How often a client is told of figures: as often as a person can read them.
const EVERY: Duration = Duration::from_millis(200);

/// What waits for everything to be there. Dropped: to be asked again.
type Flushed = oneshot::Receiver<Result<(), Refused>>;

/// Tells a client of a flush until it is over.
pub async fn serve(syncs: Syncs, sync: Sync, answers: mpsc::Sender<Result<FlushSyncResponse, Status>>) {
    let shutdown = syncs.app().shutdown.clone();
    let work = async {
        let end = flush(&syncs, &sync, &answers).await;
        end.map(|sync| message(Event::End(sync)))
            .map_err(Error::into_status)
    };
    relay::to_the_end(&shutdown, &answers, work).await;
}

/// The sync once everything is there.
async fn flush(
    syncs: &Syncs,
    sync: &Sync,
    answers: &mpsc::Sender<Result<FlushSyncResponse, Status>>,
) -> Result<v1::Sync, Error> {
    let host = syncs.inner.handles.host(&sync.host)?;
    let mut view = syncs.watch(sync)?;
    let mut link = host.view();
    may_go_on(&view.borrow().sync)?;
    // Somebody waits for what happens there.
    let _following = host.follow();
    let mut flushed = Some(ask(syncs, sync).await?);
    let mut ask_at = None;
    let mut backoff = Backoff::default();
    let mut told = None;
    let mut news = true;
    loop {
        let now = Arc::clone(&view.borrow_and_update());
        may_go_on(&now.sync)?;
        is_connectable(&host)?;
        let shown = syncs.message(&now.sync);
        let kind = (shown.state, shown.link);
        // What it does and how the host is reached is told at once, figures now and then.
        let due = match told {
            Some((at, before)) if before == kind => news.then_some(at + EVERY),
            _ => Some(Instant::now()),
        };
        tokio::select! {
            biased;
            answer = answered(&mut flushed) => match answer {
                Some(Ok(())) => {
                    // Not under the lock of the view, which making the message takes again.
                    let now = Arc::clone(&view.borrow());
                    return Ok(syncs.message(&now.sync));
                }
                Some(Err(refused)) => return Err(failed(sync, &refused)),
                // Its engine was replaced; or the sync is gone, which asking again tells.
                None => ask_at = Some(Instant::now() + backoff.pause()),
            },
            () = at(ask_at) => {
                ask_at = None;
                flushed = Some(ask(syncs, sync).await?);
            }
            () = at(due) => {
                // What does not fit is older than what is told next.
                let _slow = answers.try_send(Ok(message(Event::Progress(shown))));
                told = Some((Instant::now(), kind));
                news = false;
            }
            changed = view.changed() => {
                changed.map_err(|_gone| syncs.inner.handles.gone(sync.name.as_str()))?;
                news = true;
            }
            Ok(()) = link.changed() => news = true,
            () = host.removed() => return Err(syncs.inner.handles.gone(sync.name.as_str())),
        }
    }
}

/// Waits for an answer, which is had once; absent when nobody will give it. For ever where none is awaited.
async fn answered(flushed: &mut Option<Flushed>) -> Option<Result<(), Refused>> {
    let Some(awaited) = flushed else {
        return std::future::pending().await;
    };
    let answer = awaited.await.ok();
    *flushed = None;
    answer
}

async fn ask(syncs: &Syncs, sync: &Sync) -> Result<Flushed, Error> {
    let handle = syncs
        .inner
        .handles
        .get(sync.id)
        .ok_or_else(|| syncs.inner.handles.gone(sync.name.as_str()))?;
    let (reply, flushed) = oneshot::channel();
    let sent = handle.inbox.send(Command::Flush(reply)).await;
    sent.map_err(|_closed| syncs.inner.handles.gone(sync.name.as_str()))?;
    Ok(flushed)
}

fn may_go_on(sync: &Sync) -> Result<(), Error> {
    admission::sync::flush(sync).map_err(|denied| refusal::denied(&denied.into(), Some(sync.id)))
}

/// What only a person can mend is not waited for.
fn is_connectable(host: &Host) -> Result<(), Error> {
    let view = host.view().borrow().clone();
    if !host.is_local() && view.link.is_stuck() {
        return Err(not_connected(host.name(), &view));
    }
    Ok(())
}

/// Why an engine cannot bring a flush to an end. What somebody has to say first is of the kind that admission refuses with.
fn failed(sync: &Sync, refused: &Refused) -> Error {
    let name = &sync.name;
    let (kind, hint) = match refused.reason.as_str() {
        "paused" => (ErrorKind::WrongState, format!("outlast sync resume {name}")),
        reason if HALTS.contains(&reason) => (
            ErrorKind::WrongState,
            format!(
                "if it should go on all the same: outlast sync resume {name} --confirm; outlast sync show {name} tells \
                 more"
            ),
        ),
        _ => (ErrorKind::Failed, format!("outlast sync show {name} tells more")),
    };
    Error::new(kind, format!("sync {name}: {}", refused.message))
        .with_hint(hint)
        .about(sync.id.to_string())
}

/// Reasons of a halt.
const HALTS: [&str; 7] = [
    "source_missing",
    "source_replaced",
    "source_emptied",
    "mass_deletion",
    "target_missing",
    "target_replaced",
    "target_not_empty",
];

fn message(event: Event) -> FlushSyncResponse {
    FlushSyncResponse { event: Some(event) }
}

/// Waits until a moment; for ever when there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
