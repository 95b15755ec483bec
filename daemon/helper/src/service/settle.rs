//! After the end of a session's program: waits until everything it wrote to its terminal is in the log.
//!
//! The program's last words are on their way through the terminal, tmux and the logger when its status is written. tmux
//! calls a pane dead only when it handed everything to the logger, and a logger that is told to end first reads what it
//! was handed; so a dead pane whose logger has ended is the fact to wait for.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;

use super::{Core, error::failed};
use crate::{
    spool::{Dir, Lock, Sent, State},
    tmux::quote::Commands,
};

/// How long is waited at most. It takes a few milliseconds; a disk that hangs must not hang us.
const WITHIN: Duration = Duration::from_secs(3);

/// How long is waited while the pane still has processes to end that the program left behind: they can take all of a
/// long grace, and what the program itself wrote is past tmux long before.
const WITHIN_GRACE: Duration = Duration::from_millis(250);

/// First and longest pause between two looks: tmux tells nobody when a pane dies.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Name of a session in tmux.
pub(super) fn tmux_name(id: &str) -> String {
    format!("o-{id}")
}

/// What tmux takes for the one pane of a session, and of no other.
pub(super) fn pane(id: &str) -> String {
    format!("=o-{id}:")
}

/// Waits, and answers what the directory says then: the same end, or that of a later run, or a later run.
pub(super) async fn settle(core: &Core, id: &str, dir: &Dir, ended: State) -> Result<State, Status> {
    // Nobody may start the next run meanwhile: its logger would be told to end.
    let _alone = core.sessions.lock(id).await;
    let now = dir.state(None).map_err(|error| failed(&error))?;
    if now != ended || !matches!(now, State::Ended(..)) {
        return Ok(now);
    }
    drain(core, id, dir).await;
    Ok(now)
}

/// The waiting itself, for who holds the session's lock. Giving up is fine: what is missing comes later or never.
pub(super) async fn drain(core: &Core, id: &str, dir: &Dir) {
    let begun = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        let busy = Lock::is_held(dir).unwrap_or(false);
        // One that was told before tmux had given it everything would miss the rest.
        let logger = if shows(core, id).await {
            Sent::NoReader
        } else {
            dir.end_log().unwrap_or(Sent::NoFifo)
        };
        if logger == Sent::NoFifo {
            return;
        }
        if begun.elapsed() >= if busy { WITHIN_GRACE } else { WITHIN } {
            if !busy {
                tracing::warn!("the log of session {id} may lack its last bytes");
                dir.forget_log();
            }
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether tmux may still have output of this session. A pane that is gone, like a dead one, has none.
async fn shows(core: &Core, id: &str) -> bool {
    let question = Commands::one(["display-message", "-p", "-t", &pane(id), "#{pane_dead}"]);
    let (Ok(question), Ok(Some(client))) = (question, core.tmux.reach().await) else {
        return false;
    };
    client.line(question).await.is_ok_and(|answer| answer == "0")
}
