//! The hold on a running program: signals, the size of its terminal, and its end when nobody listens any more.
//!
//! On pipes, that ends its process group. On a terminal it is what a modem's hang-up was: everything in the process session
//! is told, and what had the terminal is ended if it does not leave. What ignores the hang-up in the background was put
//! there to stay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1 as proto;
use rustix::{
    process::{Pid, Signal, kill_process_group, test_kill_process_group},
    termios::tcgetpgrp,
};
use tokio::{
    process::Child,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::start::size;
use crate::{pty::Pty, spool::Family};

/// Time between TERM and KILL for a program whose listener is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Time between HUP and TERM on a terminal.
const HANGUP: Duration = Duration::from_secs(1);

/// What is left of each of these when the whole connection is gone: it must not keep a helper for which nobody has a use.
const HURRY: Duration = Duration::from_millis(200);

/// How often it is looked whether a process group is empty: nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A hold on one program. Let go of before its end, it kills what it holds.
#[derive(Debug)]
pub(super) struct Hold {
    /// Leader of its process group, and on a terminal of its process session.
    leader: Option<Pid>,
    terminal: Option<Arc<Pty>>,
    leaving: CancellationToken,
    over: AtomicBool,
}

impl Hold {
    pub(super) fn new(pid: u32, terminal: Option<Arc<Pty>>, leaving: CancellationToken) -> Self {
        Self {
            leader: i32::try_from(pid).ok().and_then(Pid::from_raw),
            terminal,
            leaving,
            over: AtomicBool::new(false),
        }
    }

    /// Signals what has the terminal, or the process group of the program.
    pub(super) fn signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            send([self.foreground().or(self.leader)], signal);
        }
    }

    /// Changes the size of its terminal, where it has one.
    pub(super) fn resize(&self, to: proto::Size) {
        if let (Some(pty), Some(size)) = (&self.terminal, size(Some(to))) {
            // A terminal that is gone needs no size.
            let _ = pty.resize(size);
        }
    }

    /// Says that the program ended by itself: what it left behind is not ours to end.
    pub(super) fn is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Ends it, whose process was not collected yet.
    pub(super) async fn end(&self, child: &mut Child) {
        let groups = self.groups();
        let (mut telling, mut gone) = (None, false);
        if self.terminal.is_some() {
            send(groups, Signal::HUP);
            telling = self.leader.map(|leader| {
                let session = Family::of_session(leader.as_raw_nonzero().get().cast_unsigned());
                spawn_blocking(move || {
                    session.signal(Signal::HUP)?;
                    // What is stopped cannot leave.
                    session.signal(Signal::CONT)
                })
            });
            gone = self.gone_within(child, groups, HANGUP).await;
        }
        if !gone {
            send(groups, Signal::TERM);
            gone = self.gone_within(child, groups, GRACE).await;
        }
        if !gone {
            send(groups, Signal::KILL);
        }
        self.is_over();
        // It collects it; an error is one that was collected.
        let _ = child.wait().await;
        if let Some(telling) = telling {
            // Without `/proc` the end of the terminal is what tells the others.
            let _ = telling.await;
        }
    }

    /// Waits until the program and its groups are gone, but no longer than this, or a moment once the connection is gone.
    async fn gone_within(&self, child: &mut Child, groups: [Option<Pid>; 2], time: Duration) -> bool {
        let until = Instant::now() + time;
        let gone = async {
            let _ = child.wait().await;
            let alive = |group: &Pid| test_kill_process_group(*group).is_ok();
            while groups.iter().flatten().any(alive) {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = gone => true,
            () = sleep_until(until) => false,
            () = async { self.leaving.cancelled().await; sleep(HURRY).await } => false,
        }
    }

    /// Its own process group, and the one that has the terminal now.
    fn groups(&self) -> [Option<Pid>; 2] {
        let other = self.foreground().filter(|group| Some(*group) != self.leader);
        [self.leader, other]
    }

    fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(self.terminal.as_ref()?.master.get()).ok()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Dropped in the middle of it by the end of this whole process.
        if !self.over.load(Ordering::Relaxed) {
            send(self.groups(), Signal::KILL);
        }
    }
}

fn send<const N: usize>(groups: [Option<Pid>; N], signal: Signal) {
    for group in groups.into_iter().flatten() {
        // It may be gone.
        let _ = kill_process_group(group, signal);
    }
}
