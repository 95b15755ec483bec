//! Word of what makes a new attempt worth while: the network changed, or the machine woke up.
//!
//! Both are told by the kernel: a netlink socket hears of links, addresses and routes; a timer that is never due hears
//! that the wall clock jumped, which a resume from sleep makes it do. Nothing polls.

use std::{io, time::Duration};

use outlast_helper::fd::Fd;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::time::{Instant, timeout_at};

/// Multicast groups of rtnetlink(7): links, IPv4 and IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Changes come in bursts; they count as one.
const BURST: Duration = Duration::from_millis(100);

/// Hears of changes.
#[derive(Debug)]
pub struct Wake {
    network: Fd,
    clock: Fd,
}

impl Wake {
    /// Begins to listen. Inside a tokio runtime.
    ///
    /// # Errors
    /// When the kernel offers neither.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol number is NETLINK_ROUTE, which is 0.
        let network = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&network, &SocketAddrNetlink::new(0, GROUPS))?;
        let clock = timerfd_create(
            TimerfdClockId::Realtime,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let wake = Self {
            network: Fd::new(network)?,
            clock: Fd::new(clock)?,
        };
        wake.arm()?;
        Ok(wake)
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.next().await;
        let over = Instant::now() + BURST;
        while timeout_at(over, self.next()).await.is_ok() {}
    }

    async fn next(&self) {
        // What is read does not matter, only that there was something; an overrun is told by an error.
        let mut news = [0_u8; 4096];
        let mut jumps = [0_u8; 8];
        tokio::select! {
            _told = self.network.read(&mut news) => {}
            // A jump is told by an error of the read, once; then it has to be armed again.
            _told = self.clock.read(&mut jumps) => if let Err(error) = self.arm() {
                tracing::warn!(%error, "jumps of the clock are not heard any more");
                std::future::pending::<()>().await;
            },
        }
    }

    fn arm(&self) -> rustix::io::Result<()> {
        let never = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                // Far beyond any clock that is right.
                tv_sec: 1 << 40,
                tv_nsec: 0,
            },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(self.clock.get(), flags, &never).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unchanged_network_says_nothing_and_both_can_be_listened_to() {
        let wake = Wake::listen().unwrap();
        // Only that it neither fails nor spins: what the neighbours of this test do to the network is not known.
        let _quiet = tokio::time::timeout(Duration::from_millis(20), wake.changed()).await;
    }
}
