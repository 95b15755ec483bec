//! A sealed sandbox around the real programs, for tests of the whole product.
//!
//! A [`Sandbox`] has its own home, XDG directories and tmux server; what runs in it sees nothing of the person who
//! runs the tests, and what it leaves behind is found and ended when the sandbox is dropped. [`Sandbox::outlast`]
//! runs the control program to its end, [`Sandbox::spawn`] keeps a program running and reads along, [`Terminal`] is
//! a screen to type on, and [`Sandbox::connect`] speaks the protocol directly.
//!
//! For hosts there are [`Sshd`], a real one; [`SshClient`], an `ssh` that sees nothing of the user's; [`Proxy`], a bad
//! network; [`NetHost`], an address of its own that can be cut off; and [`Accounts`], users with shells and homes.
//! [`Loopback`] is a network that no way leads out of.
//!
//! Refuses to start what is not there: without the programs or tmux a test fails and says what to do. Nothing here
//! waits for time to pass; [`wait_until`] waits for facts.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod accounts;
mod client;
mod leftovers;
mod limits;
mod loopback;
mod namespace;
mod netns;
mod process;
mod programs;
mod proxy;
mod pty;
mod random;
mod run;
mod sandbox;
mod ssh;
mod sshd;
mod sweep;
mod terminal;
mod wait;

pub use accounts::Accounts;
pub use client::Client;
pub use leftovers::end_all;
pub use limits::allow_open_files;
pub use loopback::Loopback;
pub use namespace::Namespace;
pub use netns::NetHost;
pub use process::Process;
pub use programs::{far_helper, program};
pub use proxy::Proxy;
pub use pty::Pty;
pub use random::Random;
pub use run::{Run, run};
pub use sandbox::Sandbox;
pub use ssh::{SshClient, keygen, write_program};
pub use sshd::{Sshd, SshdOptions};
pub use terminal::Terminal;
pub use wait::{DEADLINE, Gone, lines_in, wait_until};
