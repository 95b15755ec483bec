//! A host with a network of its own: an address that can be cut off and comes back. Needs root.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{DEADLINE, Random, Run, run};

/// How the names of our namespaces begin. It is short because interface names hold 15 bytes: the rest are up to six
/// digits of a process id, three of a number, and two letters.
const PREFIX: &str = "oltk";

/// A network namespace that is joined to this machine's by a pair of virtual interfaces. It is removed when dropped.
#[derive(Debug)]
pub struct NetHost {
    name: String,
    address: Ipv4Addr,
}

impl NetHost {
    /// A new host with an address nobody has.
    ///
    /// # Panics
    /// When namespaces cannot be made: that takes root, and iproute2 and iptables.
    #[must_use]
    pub fn new() -> Self {
        let (name, number) = fresh_name();
        let mut random = Random::new(u64::from(process::id()) << 32 | u64::from(number));
        let (near, far) = loop {
            // Pairs of 10.192.0.0/10, which is private and rarely in use.
            let base = 0x0ac0_0000 | u32::try_from(random.between(0, 1 << 20)).expect("it is small") << 2;
            let (near, far) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
            let taken = ask(&[
                "-o",
                "addr",
                "show",
                "to",
                &format!("{}/30", Ipv4Addr::from(base)),
            ]);
            if taken.out().trim().is_empty() {
                break (near, far);
            }
        };
        ip(&["netns", "add", &name]);
        let host = Self { name, address: far };
        let (outside, inside) = (format!("{}a", host.name), format!("{}b", host.name));
        ip(&[
            "link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &host.name,
        ]);
        ip(&["addr", "add", &format!("{near}/30"), "dev", &outside]);
        ip(&["link", "set", &outside, "up"]);
        host.within(&["addr", "add", &format!("{far}/30"), "dev", &inside]);
        host.within(&["link", "set", &inside, "up"]);
        host.within(&["link", "set", "lo", "up"]);
        host
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Name of its namespace, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets nothing through in either direction, and nobody hears of it: a half-open link.
    pub fn cut(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            self.iptables(&["-I", chain, "-j", "DROP"]);
        }
    }

    /// Takes the host's interface down, as a machine that was switched off: after a while the near side is told that there
    /// is no way.
    pub fn unplug(&self) {
        self.within(&["link", "set", &format!("{}b", self.name), "down"]);
    }

    /// Loses so many of a hundred packets in each direction, at random.
    pub fn lose(&self, percent: u8) {
        let probability = (f64::from(percent) / 100.0).to_string();
        let lost = [
            "-m",
            "statistic",
            "--mode",
            "random",
            "--probability",
            &probability,
            "-j",
            "DROP",
        ];
        for chain in ["INPUT", "OUTPUT"] {
            self.iptables(&[&["-I", chain], &lost[..]].concat());
        }
    }

    /// An IPv6 address there that everything goes to and nothing comes back from, as behind a network that carries only
    /// the other family and does not say so.
    ///
    /// # Panics
    /// When this system has no IPv6.
    #[must_use]
    pub fn swallowing(&self) -> Ipv6Addr {
        let [_, b, c, d] = self.address.octets().map(u16::from);
        let at = |last| Ipv6Addr::new(0xfd00, 0xa, b, c, d, 0, 0, last);
        let (near, far, outside) = (at(1), at(2), format!("{}a", self.name));
        // Containers often begin with it switched off; where it cannot be switched on the next step says so.
        drop(fs::write(
            format!("/proc/sys/net/ipv6/conf/{outside}/disable_ipv6"),
            "0",
        ));
        ip(&[
            "-6",
            "addr",
            "add",
            &format!("{near}/64"),
            "dev",
            &outside,
            "nodad",
        ]);
        // A neighbour that everybody is sure of and nobody is: packets leave and are heard of no more.
        let nobody = "02:00:00:00:00:99";
        ip(&[
            "-6",
            "neigh",
            "add",
            &far.to_string(),
            "lladdr",
            nobody,
            "dev",
            &outside,
            "nud",
            "permanent",
        ]);
        far
    }

    /// Undoes [`NetHost::cut`], [`NetHost::lose`] and [`NetHost::unplug`].
    pub fn heal(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            self.iptables(&["-F", chain]);
        }
        self.within(&["link", "set", &format!("{}b", self.name), "up"]);
    }

    /// `ip` within its namespace.
    fn within(&self, args: &[&str]) {
        ip(&[&["-n", &self.name], args].concat());
    }

    fn iptables(&self, args: &[&str]) {
        let mut command = Command::new("ip");
        // Waits for its turn at the lock that all namespaces share.
        command
            .args(["netns", "exec", &self.name, "iptables", "-w"])
            .args(args);
        drop(run(command, DEADLINE).success());
    }
}

impl Default for NetHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetHost {
    fn drop(&mut self) {
        // The interfaces go with the namespace once nothing runs in it, and at once when one is removed.
        for args in [
            ["link", "del", &format!("{}a", self.name)],
            ["netns", "del", &self.name],
        ] {
            let mut command = Command::new("ip");
            command.args(args);
            drop(run(command, DEADLINE));
        }
    }
}

/// A name for another namespace of this process, and which one it is.
pub(crate) fn fresh_name() -> (String, u32) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    sweep();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    (name(process::id(), number), number)
}

/// Removes the namespaces of processes that are gone: of tests that were killed.
fn sweep() {
    for line in ask(&["netns", "list"]).out().lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let mut command = Command::new("ip");
            command.args(["netns", "del", name]);
            // Another test may have done it meanwhile.
            drop(run(command, DEADLINE));
        }
    }
}

fn name(owner: u32, number: u32) -> String {
    format!("{PREFIX}{owner:x}n{number:x}")
}

/// The process that made a namespace. None: it is none of ours.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('n')?;
    // Parsing takes signs and capitals too.
    let is_hex =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex(number).then_some(())?;
    u32::from_str_radix(pid, 16).ok().filter(|_| is_hex(pid))
}

pub(crate) fn ip(args: &[&str]) {
    drop(ask(args));
}

fn ask(args: &[&str]) -> Run {
    let mut command = Command::new("ip");
    command.args(args);
    run(command, DEADLINE).success()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_namespaces_are_taken_for_ours() {
        for (pid, number) in [(1, 0), (0x0040_0000, 0xfff)] {
            let name = name(pid, number);
            assert!(name.len() < 15, "an interface cannot be called {name}a");
            assert_eq!(owner(&name), Some(pid));
        }
        for other in [
            "ol12n1",
            "olan",
            "oltkn1",
            "oltk12",
            "oltk12n",
            "oltk+1n1",
            "oltk1n+1",
            "oltk12nat",
            "oltkAn1",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
