//! An ssh session of the library on a connected socket, owned by one thread. Nothing here blocks without a deadline:
//! the session never waits by itself, we wait for its socket.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::sockopt,
};
use ssh2::{BlockDirections, ErrorCode, MethodType, Session};

use super::{BY_PROGRAM, cipher, config::Settings, known_hosts::Known};
use crate::error::{Cause, ConnectError};

/// libssh2's word for "not yet".
const EAGAIN: i32 = -37;

/// The session and its socket.
pub(super) struct Wire {
    pub(super) session: Session,
    pub(super) socket: Arc<OwnedFd>,
}

/// Until when to wait.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// A point in time.
    Until(Instant),
    /// So long for each thing the host has to say.
    Each(Duration),
}

/// Why a step did not come about.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The library says no.
    Library(ssh2::Error),
    /// Nothing came in time.
    Late,
    /// Waiting is impossible.
    System(io::Error),
}

impl Wire {
    /// A session on a socket.
    pub(super) fn new(socket: Arc<OwnedFd>) -> Result<Self, ConnectError> {
        let mut session =
            Session::new().map_err(|error| ConnectError::new(Cause::Protocol, error.to_string()))?;
        session.set_tcp_stream(Arc::clone(&socket));
        session.set_blocking(false);
        Ok(Self { session, socket })
    }

    /// Repeats an operation of the library until it is done.
    pub(super) fn finish<T>(
        &self,
        patience: Patience,
        mut operation: impl FnMut(&Session) -> Result<T, ssh2::Error>,
    ) -> Result<T, Trouble> {
        loop {
            match operation(&self.session) {
                Err(error) if error.code() == ErrorCode::Session(EAGAIN) => self.wait(patience)?,
                done => return done.map_err(Trouble::Library),
            }
        }
    }

    /// Lets the kernel acknowledge what arrives at once, until it forgets that again. A socket that is not TCP has no
    /// such thing.
    pub(super) fn acknowledge_at_once(&self) {
        let _ = sockopt::set_tcp_quickack(&self.socket, true);
    }

    /// Waits until the socket is ready for what the session wants to do.
    fn wait(&self, patience: Patience) -> Result<(), Trouble> {
        self.acknowledge_at_once();
        let until = match patience {
            Patience::Until(until) => until,
            Patience::Each(each) => Instant::now() + each,
        };
        let flags = wanted(&self.session.block_directions());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up: a rest of less than a millisecond must not become a busy loop.
            let left = Timespec::try_from(left + Duration::from_millis(1)).ok();
            let mut fds = [PollFd::new(&self.socket, flags)];
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Err(Trouble::Late),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Trouble::System(error.into())),
            }
        }
    }

    /// Agrees on keys with the host. Asks for a key of a type that is known for it where there is one.
    pub(super) fn agree(
        &mut self,
        settings: &Settings,
        known: &Known,
        until: Instant,
    ) -> Result<(), ConnectError> {
        self.prefer(settings, known)?;
        let greeted = loop {
            match self.session.handshake() {
                Err(error) if error.code() == ErrorCode::Session(EAGAIN) => {
                    if let Err(trouble) = self.wait(Patience::Until(until)) {
                        break Err(trouble);
                    }
                }
                done => break done.map_err(Trouble::Library),
            }
        };
        greeted.map_err(|trouble| match trouble {
            Trouble::Late if self.session.banner().is_none() => ConnectError::new(
                Cause::TimedOut,
                "the host takes the connection, but nothing there speaks ssh",
            )
            .with_hint("check the port; sshd may also be too busy to answer"),
            Trouble::Late => ConnectError::new(
                Cause::TimedOut,
                "the host did not finish the key exchange in time",
            ),
            Trouble::System(error) => ConnectError::new(Cause::Unreachable, error.to_string()),
            Trouble::Library(error) => exchange_failed(&error),
        })
    }

    /// Tells the library what it may use, and what first.
    fn prefer(&self, settings: &Settings, known: &Known) -> Result<(), ConnectError> {
        let types = known.types();
        let is_known = |algorithm: &&str| types.contains(&type_of(algorithm));
        for (method, name, allowed) in [
            (
                MethodType::HostKey,
                "HostKeyAlgorithms",
                &settings.host_key_algorithms,
            ),
            (MethodType::Kex, "KexAlgorithms", &settings.kex_algorithms),
            (MethodType::CryptCs, "Ciphers", &settings.ciphers),
            (MethodType::CryptSc, "Ciphers", &settings.ciphers),
            (MethodType::MacCs, "MACs", &settings.macs),
            (MethodType::MacSc, "MACs", &settings.macs),
        ] {
            let supported = self
                .session
                .supported_algs(method)
                .map_err(|error| ConnectError::new(Cause::Protocol, error.to_string()))?;
            let may = |one: &&str| allowed.is_empty() || allowed.iter().any(|allowed| allowed == one);
            let mut usable: Vec<&str> = supported.into_iter().filter(may).filter(is_plain).collect();
            if matches!(method, MethodType::HostKey) {
                // In the user's order, and what is known before what is not.
                let place = |one: &&str| allowed.iter().position(|allowed| allowed == one);
                usable.sort_by_key(|one| (!is_known(one), place(one)));
            } else if matches!(method, MethodType::CryptCs | MethodType::CryptSc) {
                cipher::fastest_first(&mut usable);
            }
            if usable.is_empty() {
                return Err(ConnectError::new(
                    Cause::Misconfigured,
                    format!("the library can do none of what {name} of the ssh configuration allows"),
                )
                .with_hint(BY_PROGRAM));
            }
            self.session
                .method_pref(method, &usable.join(","))
                .map_err(|error| ConnectError::new(Cause::Protocol, error.to_string()))?;
        }
        Ok(())
    }
}

/// Host certificates are for the program that judges them.
fn is_plain(algorithm: &&str) -> bool {
    !algorithm.contains("-cert-")
}

/// The type of the keys that an algorithm of host keys is for.
fn type_of<'a>(algorithm: &&'a str) -> &'a str {
    match *algorithm {
        "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa",
        other => other,
    }
}

/// What to wait for on the socket.
fn wanted(directions: &BlockDirections) -> PollFlags {
    match directions {
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
    }
}

fn exchange_failed(error: &ssh2::Error) -> ConnectError {
    match error.code() {
        // Banner not received, banner not sent, socket closed, receive failed, disconnected.
        ErrorCode::Session(-2 | -3 | -7 | -13 | -43) => ConnectError::new(
            Cause::Cut,
            format!(
                "the host ended the connection during the key exchange: {}",
                error.message()
            ),
        )
        .with_hint("sshd may turn connections away (MaxStartups), or something else listens there"),
        ErrorCode::Session(-5 | -8) => ConnectError::new(
            Cause::Protocol,
            format!(
                "the host and the library agree on no way to exchange keys: {}",
                error.message()
            ),
        )
        .with_hint(BY_PROGRAM),
        _ => ConnectError::new(
            Cause::Protocol,
            format!("the key exchange failed: {}", error.message()),
        ),
    }
}
