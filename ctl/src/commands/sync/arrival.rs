//! Following a sync until everything that was written before is on the host, with a line of progress on a terminal.

use std::time::Duration;

use outlast_client::{
    client::ClientError,
    v1::{self, ErrorKind, FlushSyncRequest, Link, SyncState, flush_sync_response::Event},
};
use tokio::time::Instant;

use crate::{
    context::Context,
    error::{Failure, Result},
    follow::{PATIENCE, Patience, away_for_now, cut, ended},
    progress::ProgressLine,
    render::sync::{arrived, doing, missing, place},
};

/// What is done when the host is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAway {
    /// Say so and wait until it is back.
    Wait,
    /// End; the sync goes on by itself.
    Leave,
    /// Fail: what comes next does not wait for it.
    Fail,
}

/// How following ended.
#[derive(Debug)]
pub enum Arrival {
    /// Everything is there but what the problems of the sync tell, after so long.
    There(Box<v1::Sync>, Duration),
    /// The host is away by this link, and it was not to be waited for.
    Away(Box<v1::Sync>, String),
}

impl Arrival {
    /// What came of it in one line.
    ///
    /// # Errors
    /// When problems leave paths missing or different on the host.
    pub fn outcome(sync: &v1::Sync, took: Duration) -> Result<String> {
        let line = arrived(sync, took.as_secs_f64());
        let show = format!("outlast sync show {}", sync.name);
        if let Some((count, kinds)) = missing(sync) {
            let what = if count == 1 {
                "1 path is not there as it is here"
            } else {
                &format!("{count} paths are not there as they are here")
            };
            return Err(
                Failure::new(ErrorKind::Failed, format!("{line}; {what} ({kinds})"))
                    .hint(show)
                    .about(&sync.id),
            );
        }
        Ok(match sync.problem_count {
            0 => line,
            1 => format!("{line}; 1 problem, see: {show}"),
            count => format!("{line}; {count} problems, see: {show}"),
        })
    }
}

/// The word for the link to the host of a sync that is away.
pub fn away(sync: &v1::Sync) -> Option<String> {
    let link = away_for_now(sync.link());
    let unknown = sync.link() == Link::Unspecified && sync.state() == SyncState::Disconnected;
    link.or_else(|| unknown.then(|| "no connection".to_owned()))
}

/// Whether a host is away in a way that waiting does not help against.
pub fn refuses(link: Link) -> bool {
    matches!(link, Link::AuthFailed | Link::HostkeyChanged)
}

/// Follows a sync to the end of a flush, across broken connections. `resume` is what to type to come back.
pub async fn follow(ctx: &Context, sync: &str, if_away: IfAway, resume: &str) -> Result<Arrival> {
    let mut follower = Follower {
        ctx,
        if_away,
        began: Instant::now(),
        line: ProgressLine::new(ctx),
        patience: Patience::new(PATIENCE),
        was_away: false,
    };
    loop {
        match follower.once(sync).await? {
            Ok(arrival) => return Ok(arrival),
            Err(error) if error.can_go_on() => {
                follower.line.clear();
                follower
                    .patience
                    .reconnect(ctx, error)
                    .await
                    .map_err(|failure| failure.hint(resume))?;
            }
            Err(error) => {
                follower.line.clear();
                return Err(ended(error, resume));
            }
        }
    }
}

struct Follower<'a> {
    ctx: &'a Context,
    if_away: IfAway,
    began: Instant,
    line: ProgressLine,
    patience: Patience,
    was_away: bool,
}

impl Follower<'_> {
    async fn once(&mut self, sync: &str) -> Result<std::result::Result<Arrival, ClientError>> {
        let request = FlushSyncRequest {
            sync: sync.to_owned(),
        };
        let daemon = self.ctx.daemon().await?;
        let mut syncs = daemon.syncs();
        let mut messages = match daemon.answer(syncs.flush_sync(request)).await {
            Ok(messages) => messages,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Err(cut())),
                Err(status) => return Ok(Err(status.into())),
            };
            self.patience.renew();
            match message.event {
                Some(Event::Progress(now)) => {
                    if let Some(link) = self.look(&now)? {
                        self.line.clear();
                        return Ok(Ok(Arrival::Away(Box::new(now), link)));
                    }
                }
                Some(Event::End(end)) => {
                    self.line.clear();
                    return Ok(Ok(Arrival::There(Box::new(end), self.began.elapsed())));
                }
                // A message of a later protocol.
                None => {}
            }
        }
    }

    /// Shows how far it is. Gives back the link of a host that is away and not to be waited for.
    fn look(&mut self, now: &v1::Sync) -> Result<Option<String>> {
        let host = &now.host;
        let Some(link) = away(now) else {
            if std::mem::take(&mut self.was_away) {
                self.line.clear();
                self.ctx.note(&format!("outlast: host {host} is back"));
            }
            self.line.show(|| doing(now));
            return Ok(None);
        };
        let refused = refuses(now.link());
        match self.if_away {
            IfAway::Leave => return Ok(Some(link)),
            IfAway::Wait if !refused => {}
            IfAway::Wait | IfAway::Fail => {
                self.line.clear();
                let kind = if refused {
                    ErrorKind::Unauthenticated
                } else {
                    ErrorKind::Unreachable
                };
                let message = format!("host {host} is away ({link}), and sync {} cannot go on", now.name);
                return Err(Failure::new(kind, message)
                    .hint(format!("outlast host check {host}"))
                    .about(&now.id));
            }
        }
        if !std::mem::replace(&mut self.was_away, true) {
            self.line.clear();
            self.ctx.note(&format!(
                "outlast: host {host} is away ({link}); what is missing on {} goes there when it is back",
                place(now)
            ));
        }
        Ok(None)
    }
}
