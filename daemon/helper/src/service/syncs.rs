//! Directories that are kept equal to one elsewhere: one stream writes to a target at a time, and one thread does it, fed
//! through a short queue, so that more is received while it works. A newer stream ends an older one.

mod claim;
mod convert;
mod refuse;
mod work;

use std::{sync::Arc, time::Duration};

use outlast_client::helper_v1::{
    ForgetSyncRequest, ForgetSyncResponse, LookEntry, LookTargetRequest, LookTargetResponse, SyncOpen,
    SyncTargetRequest, SyncTargetResponse, sync_target_request,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

pub(super) use self::claim::Targets;
use self::{
    refuse::{refuse, taken_over},
    work::Worker,
};
use super::{
    Answers, Core,
    error::{broken, check_id, usage},
};
use crate::target::{self, Grounds};

/// How long the first message may take.
const START_WITHIN: Duration = Duration::from_secs(10);

/// Messages that wait while one is worked on.
const WAITING: usize = 4;

/// Answers under way.
const QUEUE: usize = 4;

/// Entries of a directory that are told at most.
const LOOK_MAX: u32 = 100_000;

type Sender = mpsc::Sender<Result<SyncTargetResponse, Status>>;

type Event = sync_target_request::Event;

/// Opens a target and makes the changes that come.
pub(super) async fn target(
    core: Arc<Core>,
    mut input: Streaming<SyncTargetRequest>,
) -> Result<Answers<SyncTargetResponse>, Status> {
    let first = timeout(START_WITHIN, input.message())
        .await
        .map_err(|_elapsed| usage("nothing was asked for"))??;
    let Some(Event::Open(open)) = first.and_then(|first| first.event) else {
        return Err(usage("the first message must say which target"));
    };
    check_id(&open.id)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let tasks = core.tasks.clone();
    tasks.spawn(async move {
        let leaving = core.leaving.clone();
        if let Err(status) = serve(core, open, input, &sender).await {
            tokio::select! {
                // Who left does not hear it.
                _ = sender.send(Err(status)) => {}
                () = leaving.cancelled() => {}
            }
        }
    });
    Ok(Answers::new(receiver))
}

async fn serve(
    core: Arc<Core>,
    open: SyncOpen,
    input: Streaming<SyncTargetRequest>,
    to: &Sender,
) -> Result<(), Status> {
    let claim = tokio::select! {
        claim = core.targets.claim(&open.id) => claim?,
        () = to.closed() => return Ok(()),
        () = core.leaving.cancelled() => return Ok(()),
    };
    let superseded = claim.superseded();
    let stop = CancellationToken::new();
    let (queue, events) = mpsc::channel(WAITING);
    let worker = Worker {
        core: Arc::clone(&core),
        to: to.clone(),
        stop: stop.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let mut working = core.tasks.spawn_blocking(move || {
        let ended = worker.run(&open, events);
        // Only now may the next one come.
        drop(claim);
        ended
    });
    let feed = feed(input, queue);
    tokio::pin!(feed);
    let mut fed = false;
    let ended = loop {
        tokio::select! {
            ended = &mut working => break ended,
            whole = &mut feed, if !fed => {
                fed = true;
                if whole {
                    continue;
                }
            }
            () = superseded.cancelled() => {}
            () = to.closed() => {}
            () = core.leaving.cancelled() => {}
        }
        // It finishes the batch it is in.
        stop.cancel();
        break working.await;
    };
    if superseded.is_cancelled() {
        return Err(taken_over());
    }
    ended.unwrap_or_else(|_panic| Err(broken("what writes to the target ended early")))
}

/// Hands over what comes, to its end. False: the stream broke.
async fn feed(mut input: Streaming<SyncTargetRequest>, queue: mpsc::Sender<Event>) -> bool {
    loop {
        match input.message().await {
            Ok(Some(request)) => {
                if let Some(event) = request.event
                    && queue.send(event).await.is_err()
                {
                    return true;
                }
            }
            Ok(None) => return true,
            Err(_broken) => return false,
        }
    }
}

/// Tells what is in a directory.
pub(super) async fn look(core: Arc<Core>, request: LookTargetRequest) -> Result<LookTargetResponse, Status> {
    let stop = core.leaving.child_token();
    // Who does not wait for the answer ends the looking.
    let _gone = stop.clone().drop_guard();
    let limit = usize::try_from(request.limit.min(LOOK_MAX)).unwrap_or_default();
    let walk = move || {
        let grounds = Grounds::new(&core.config.state_dir);
        let path = grounds
            .resolve(&request.target)
            .map_err(|error| refuse(error.into()))?;
        target::check(&core.root, &request.id, &request.all, &path).map_err(refuse)?;
        let found = target::walk(&path, limit, &stop)
            .map_err(|errno| refuse(crate::spool::at("looking at", &path, &errno.into()).into()))?;
        let exists = found.is_some();
        let found = found.unwrap_or_default();
        Ok(LookTargetResponse {
            target: convert::bytes_of(&path),
            exists,
            entries: found
                .entries
                .into_iter()
                .map(|(path, entry)| LookEntry {
                    path: path.into(),
                    entry: Some(convert::told(&entry)),
                })
                .collect(),
            more: found.more,
        })
    };
    tokio::task::spawn_blocking(walk)
        .await
        .map_err(|_panic| broken("looking at the target ended early"))?
}

/// Forgets a sync, after ending whoever has it open.
pub(super) async fn forget(
    core: Arc<Core>,
    request: ForgetSyncRequest,
) -> Result<ForgetSyncResponse, Status> {
    check_id(&request.id)?;
    let claim = core.targets.claim(&request.id).await?;
    let stop = core.leaving.child_token();
    let forget = move || {
        let forgotten = target::forget(&core.root, &request.id, &stop);
        drop(claim);
        forgotten.map_err(refuse)
    };
    tokio::task::spawn_blocking(forget)
        .await
        .map_err(|_panic| broken("forgetting the sync ended early"))??;
    Ok(ForgetSyncResponse {})
}
