//! The one task that owns what is known of this machine.
//!
//! ```text
//!   connecting ──► up ◄──► backoff
//! ```
//!
//! It asks the helper for its facts at the start, after a failure again with growing pauses, and whenever somebody
//! wants to know; otherwise it sleeps.

use std::time::Duration;

use outlast_client::helper_v1::GetFactsRequest;
use outlast_model::host::{LOCAL, Link};
use outlast_store::{Store, host_link_event};
use outlast_transport::{HelperClient, route::Carrier};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::view::{Facts, HostView, Trouble};
use crate::app::now_ms;

/// Somebody who waits for a fresh view.
pub(super) type Refresh = oneshot::Sender<()>;

/// How many may wait at once. More than anybody asks for; a full queue makes them wait, not fail.
pub(super) const QUEUE: usize = 16;

/// How long the helper may take to say who it is; asking tmux for its version is the slowest part.
const FACTS_DEADLINE: Duration = Duration::from_secs(5);

/// The pause after a first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// In process nothing is overloaded by a try, so that a mended host is back within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs until the daemon ends.
pub(super) async fn run(
    client: HelperClient,
    store: Store,
    publish: watch::Sender<HostView>,
    mut requests: mpsc::Receiver<Refresh>,
    end: CancellationToken,
) {
    let work = async {
        let mut pause = FIRST_PAUSE;
        let mut waiting: Vec<Refresh> = Vec::new();
        loop {
            // Whoever asked before this look begins is served by it.
            while let Ok(another) = requests.try_recv() {
                waiting.push(another);
            }
            let up = look(client.clone(), &store, &publish, pause).await;
            for one in waiting.drain(..) {
                // An error means that nobody waits any more: nothing to tell.
                let _gone = one.send(());
            }
            if up {
                pause = FIRST_PAUSE;
                let Some(asked) = requests.recv().await else {
                    return;
                };
                waiting.push(asked);
            } else if let Ok(asked) = tokio::time::timeout(pause, requests.recv()).await {
                let Some(asked) = asked else { return };
                waiting.push(asked);
            } else {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = work => {}
    }
}

/// Asks the helper once and publishes what came of it.
async fn look(
    mut client: HelperClient,
    store: &Store,
    publish: &watch::Sender<HostView>,
    pause: Duration,
) -> bool {
    let began = Instant::now();
    let asked = tokio::time::timeout(FACTS_DEADLINE, client.get_facts(GetFactsRequest {})).await;
    let found = match asked {
        Ok(Ok(facts)) => Ok(facts.into_inner()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_late) => Err(format!(
            "the helper did not answer within {} s",
            FACTS_DEADLINE.as_secs()
        )),
    };
    let before = publish.borrow().link;
    note(publish, found, began.elapsed(), pause);
    let view = publish.borrow().clone();
    // The first sight of a host is no change.
    if view.link != before && (before, view.link) != (Link::Connecting, Link::Up) {
        record(store, &view).await;
    }
    view.link == Link::Up
}

/// Publishes one answer, or the want of one.
fn note(publish: &watch::Sender<HostView>, found: Result<Facts, String>, took: Duration, pause: Duration) {
    publish.send_modify(|view| {
        view.generation += 1;
        view.carrier = Some(Carrier::InProcess);
        match found {
            Ok(facts) => {
                view.arrivals += u64::from(view.link != Link::Up);
                view.link = Link::Up;
                view.trouble = None;
                view.facts = Some(facts);
                view.rtt = Some(took);
                view.observed_at = Some(now_ms());
                view.next_try_at = None;
            }
            Err(error) => {
                view.link = Link::Backoff;
                view.trouble = Some(Trouble::helper(error));
                view.next_try_at = Some(now_ms() + i64::try_from(pause.as_millis()).unwrap_or(0));
            }
        }
    });
}

/// Writes the change of a link into the log of events.
async fn record(store: &Store, view: &HostView) {
    let trouble = view.trouble.as_ref();
    match trouble {
        Some(trouble) => {
            tracing::warn!(link = %view.link, error = %trouble.message, "the helper of the local host does not answer");
        }
        None => tracing::info!(link = %view.link, "the helper of the local host answers again"),
    }
    let event = host_link_event(
        LOCAL,
        view.link,
        trouble.map(|trouble| trouble.message.as_str()),
        trouble.map(|trouble| trouble.reason),
        view.next_try_at,
    );
    // The view tells it anyway; the next change is a new chance for the log.
    if let Err(error) = store.append_event(event).await {
        tracing::warn!(%error, "recording the change of a link");
    }
}
