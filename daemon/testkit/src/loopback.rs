//! A network that no way leads out of. Needs root.

use std::{fs::File, net::TcpListener, process::Command, thread};

use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    DEADLINE,
    netns::{fresh_name, ip},
    run,
};

/// A network namespace with nothing but its own loopback interface. It is removed when dropped, and lasts for as long as
/// something runs in it.
#[derive(Debug)]
pub struct Loopback {
    name: String,
}

impl Loopback {
    /// A new one.
    ///
    /// # Panics
    /// When namespaces cannot be made: that takes root, and iproute2.
    #[must_use]
    pub fn new() -> Self {
        let (name, _number) = fresh_name();
        ip(&["netns", "add", &name]);
        let network = Self { name };
        ip(&["-n", &network.name, "link", "set", "lo", "up"]);
        network
    }

    /// The file that programs enter it by, as with `nsenter --net=FILE`.
    #[must_use]
    pub fn file(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Listens in there, at a port that is free. This process stays where it is: a socket belongs to the network of the
    /// thread that made it.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        let file = File::open(self.file()).expect("the namespace is there");
        let listening = thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            TcpListener::bind("127.0.0.1:0").expect("loopback is up")
        });
        listening.join().expect("it listens")
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        let mut command = Command::new("ip");
        command.args(["netns", "del", &self.name]);
        drop(run(command, DEADLINE));
    }
}
