//! From a route to a running command: reaches the host, and gives the session to a thread of its own that logs in,
//! starts the command and then carries its bytes.

use std::{io, os::unix::net::UnixStream, path::PathBuf, sync::Arc, thread, time::Duration};

use outlast_helper::serve::BULK_NICE;
use ssh2::Channel;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    agent::{AgentKey, Found},
    ask::{Asking, pass_on},
    auth::{Means, log_in},
    config::Settings,
    host, key,
    known_hosts::{self, Known, Name, Verdict},
    pump::pump,
    reach::{self, Socket, With, reach, tell},
    wire::{Patience, Trouble, Wire},
};
use crate::{
    ask::Secret,
    connect::{Attempt, OnStep, Purpose, Trust},
    error::{Cause, ConnectError},
    route::SshRoute,
    stream::{Said, Stream},
};

/// Stack of a connection's thread. OpenSSL and libssh2 keep what is large on the heap.
const STACK: usize = 256 << 10;

/// How much the host may send ahead of what we took, for short calls.
const CONTROL_WINDOW: u32 = 2 << 20;

/// How much the host may send ahead of what we took, for bulk: fills 40 ms of a fast line.
const BULK_WINDOW: u32 = 16 << 20;

/// Largest piece of a channel's data that comes by a connection for short calls. Nothing is heard of a piece before all of
/// it is here: at 20 kbit/s this takes not quite two seconds, in which the host must not be taken for gone.
const CONTROL_PACKET: u32 = 4 << 10;

/// The same for bulk: what every server can do.
const BULK_PACKET: u32 = 32 << 10;

/// How long the host may take to start the command.
const START_WITHIN: Patience = Patience::Each(Duration::from_secs(30));

/// A running command and the passphrases that were asked for and fit.
pub(super) type Opened = (Stream, Vec<(PathBuf, Secret)>);

/// Ends the connection when dropped, whatever its thread is waiting for.
struct Guard(Socket);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Connects, logs in and starts the command.
pub(super) async fn open(
    attempt: &Attempt,
    route: &SshRoute,
    settings: &Settings,
    agent: Found,
    command: &str,
) -> Result<Opened, ConnectError> {
    let deadline = Instant::now() + attempt.reached_within(settings);
    let with = With {
        ssh: super::program(route),
        agent: attempt.agent.as_deref(),
    };
    let mut guard = Guard(reach(settings, with, deadline, &attempt.on_step).await?);
    let Found { relay, trouble } = agent;

    let (ours, theirs) = pair().map_err(|error| reach::failed(&error, "making a socket pair"))?;
    let (asks, mut asked) = mpsc::channel(1);
    let (opened, mut hear_opened) = oneshot::channel();
    let (closed, hear_closed) = watch::channel(None);
    let said = Arc::new(Said::default());
    let worker = Worker {
        settings: settings.clone(),
        named: route.identities.clone(),
        trust: attempt.trust.clone(),
        passphrases: attempt.passphrases.clone(),
        agent: relay
            .as_ref()
            .map(|relay| (relay.keys.clone(), relay.path.clone())),
        agent_trouble: trouble,
        asking: Asking(asks),
        on_step: Arc::clone(&attempt.on_step),
        room: match attempt.purpose {
            Purpose::Control => (CONTROL_WINDOW, CONTROL_PACKET),
            Purpose::Bulk | Purpose::Haul => (BULK_WINDOW, BULK_PACKET),
        },
        command: command.to_owned(),
        until: deadline.into_std(),
    };
    let (fd, its_said, purpose) = (guard.0.fd(), Arc::clone(&said), attempt.purpose);
    spawn(move || {
        let end = match worker.start(fd) {
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
            Ok((wire, (mut channel, fit))) => {
                if opened.send(Ok(fit)).is_err() {
                    return;
                }
                if purpose.is_much() {
                    // Of this thread alone, as Linux has it. One who may not stand back goes on as before.
                    let _ = rustix::process::nice(BULK_NICE);
                }
                let end = pump(&wire, &mut channel, &ours, &its_said);
                close(&wire);
                end
            }
        };
        closed.send_replace(Some(end));
    })?;

    let fit = loop {
        tokio::select! {
            opened = &mut hear_opened => match opened.unwrap_or_else(|_| Err(gone())) {
                Ok(fit) => break fit,
                Err(error) => return Err(guard.0.explain(error).await),
            },
            Some(asked) = asked.recv() => pass_on(asked, &attempt.questions).await,
        }
    };
    drop(relay);
    let io =
        tokio::net::UnixStream::from_std(theirs).map_err(|error| reach::failed(&error, "the socket pair"))?;
    let stream = Stream {
        io: Box::new(io),
        said,
        closed: hear_closed,
        guard: Box::new(guard),
    };
    Ok((stream, fit))
}

/// Both ends of what joins the thread and the tasks. Neither waits.
fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), ConnectError> {
    let thread = thread::Builder::new().name("ssh".to_owned()).stack_size(STACK);
    let started = thread.spawn(work);
    // The thread ends by itself: when either side closes, or the guard is dropped.
    started.map(drop).map_err(|error| {
        ConnectError::new(
            Cause::Misconfigured,
            format!("no thread for the connection can be started: {error}"),
        )
    })
}

fn gone() -> ConnectError {
    ConnectError::new(
        Cause::Protocol,
        "the thread of the connection ended without a word",
    )
}

/// Ends the connection before the library cleans up: it must find nothing to wait for.
fn close(wire: &Wire) {
    let _ = rustix::net::shutdown(&wire.socket, rustix::net::Shutdown::Both);
}

/// The channel of the running command, and the passphrases that fit.
type Started = (Channel, Vec<(PathBuf, Secret)>);

/// What the thread begins with.
struct Worker {
    settings: Settings,
    named: Vec<PathBuf>,
    trust: Trust,
    passphrases: Vec<(PathBuf, Secret)>,
    agent: Option<(Vec<AgentKey>, PathBuf)>,
    agent_trouble: Option<String>,
    asking: Asking,
    on_step: OnStep,
    /// How much the host may send ahead, and its largest piece.
    room: (u32, u32),
    command: String,
    until: std::time::Instant,
}

impl Worker {
    /// Everything up to the running command. When it fails the connection is closed.
    fn start(self, socket: Arc<std::os::fd::OwnedFd>) -> Result<(Wire, Started), ConnectError> {
        let mut wire = Wire::new(socket)?;
        match self.run(&mut wire) {
            Ok(started) => Ok((wire, started)),
            Err(error) => {
                close(&wire);
                Err(error)
            }
        }
    }

    fn run(self, wire: &mut Wire) -> Result<Started, ConnectError> {
        let settings = &self.settings;
        let known = Known::read(settings.known_hosts(), &Name::of(settings));

        let since = Instant::now();
        let agreed = wire.agree(settings, &known, self.until);
        tell(&self.on_step, "key exchange", since, &agreed, |()| spoken(wire));
        agreed?;

        let since = Instant::now();
        let verified =
            shown(wire).and_then(|shown| host::verify(settings, &known, &shown, &self.trust, &self.asking));
        tell(&self.on_step, "host key", since, &verified, Clone::clone);
        verified?;

        let since = Instant::now();
        let means = Means {
            settings,
            named: &self.named,
            agent: self
                .agent
                .as_ref()
                .map(|(keys, path)| (keys.as_slice(), path.as_path())),
            passphrases: &self.passphrases,
            asking: &self.asking,
            agent_trouble: self.agent_trouble,
        };
        let logged_in = log_in(wire, &means);
        tell(&self.on_step, "authenticate", since, &logged_in, |(_, by)| {
            format!("as {} by {by}", settings.user)
        });
        let (fit, _) = logged_in?;
        Ok((start(wire, self.room, &self.command)?, fit))
    }
}

/// What the other end says it is, and what the host and the library agreed on.
fn spoken(wire: &Wire) -> String {
    let session = &wire.session;
    let software = session
        .banner()
        .unwrap_or("ssh")
        .trim_start_matches("SSH-2.0-")
        .to_owned();
    let method = |method| session.methods(method).unwrap_or("?").to_owned();
    format!(
        "{software}, {}, {}",
        method(ssh2::MethodType::Kex),
        method(ssh2::MethodType::CryptCs)
    )
}

fn shown(wire: &Wire) -> Result<Vec<u8>, ConnectError> {
    let shown = wire.session.host_key().map(|(shown, _)| shown.to_vec());
    shown.ok_or_else(|| ConnectError::new(Cause::Protocol, "the host showed no key"))
}

/// Opens the channel and starts the command on it.
fn start(wire: &Wire, (window, packet): (u32, u32), command: &str) -> Result<Channel, ConnectError> {
    let failed = |what: &str, trouble: Trouble| match trouble {
        Trouble::Late => ConnectError::new(Cause::TimedOut, format!("the host did not {what} in time")),
        Trouble::System(error) => reach::failed(&error, what),
        Trouble::Library(error) => ConnectError::new(
            Cause::Cut,
            format!("the host did not {what}: {}", error.message()),
        ),
    };
    let mut channel = wire
        .finish(START_WITHIN, |session| {
            session.channel_open("session", window, packet, None)
        })
        .map_err(|trouble| {
            failed("open a channel", trouble).with_hint("it may allow no more of them (MaxSessions)")
        })?;
    wire.finish(START_WITHIN, |_| channel.exec(command))
        .map_err(|trouble| failed("start the helper's command", trouble))?;
    Ok(channel)
}

/// Trusts the key that the host shows now, where it has this fingerprint.
pub(super) async fn trust(
    settings: Settings,
    with: With<'_>,
    fingerprint: &str,
    within: Duration,
) -> Result<Vec<PathBuf>, ConnectError> {
    let deadline = Instant::now() + within;
    let known = Known::read(settings.known_hosts(), &Name::of(&settings));
    // First as a connection does it, so that the key is the one that people were shown.
    let mut shown = shown_by(settings.clone(), with, known, deadline).await?;
    if !host::same(fingerprint, &key::fingerprint(&shown)) {
        // It may be that of another key of the host, which has one of each type.
        for algorithm in TYPES {
            let mut only = settings.clone();
            only.host_key_algorithms = vec![(*algorithm).to_owned()];
            match shown_by(only, with, Known::default(), deadline).await {
                Ok(found) if host::same(fingerprint, &key::fingerprint(&found)) => {
                    shown = found;
                    break;
                }
                _ => {}
            }
        }
    }
    let wanted = fingerprint.to_owned();
    let taken = tokio::task::spawn_blocking(move || take(&settings, &shown, &wanted));
    taken.await.unwrap_or_else(|_| Err(gone()))
}

/// Algorithms that each make a host show another key of its own.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
];

/// The key that the host shows when it is asked as these settings have it.
async fn shown_by(
    settings: Settings,
    with: With<'_>,
    known: Known,
    deadline: Instant,
) -> Result<Vec<u8>, ConnectError> {
    let nobody: OnStep = Arc::new(|_| {});
    let mut guard = Guard(reach(&settings, with, deadline, &nobody).await?);
    let fd = guard.0.fd();
    let (done, hear) = oneshot::channel();
    spawn(move || {
        let key = Wire::new(fd).and_then(|mut wire| {
            let agreed = wire.agree(&settings, &known, deadline.into_std());
            let key = agreed.and_then(|()| shown(&wire));
            close(&wire);
            key
        });
        let _ = done.send(key);
    })?;
    match hear.await.unwrap_or_else(|_| Err(gone())) {
        Ok(key) => Ok(key),
        Err(error) => Err(guard.0.explain(error).await),
    }
}

/// Compares and writes down.
fn take(settings: &Settings, shown: &[u8], wanted: &str) -> Result<Vec<PathBuf>, ConnectError> {
    let fingerprint = key::fingerprint(shown);
    let name = Name::of(settings);
    let refused = |cause, message| {
        let mut error = ConnectError::new(cause, message);
        error.key_shown = Some(fingerprint.clone());
        error
    };
    if !host::same(wanted, &fingerprint) {
        return Err(refused(
            Cause::KeyChanged,
            format!(
                "{} shows the key {fingerprint}, to be trusted was {wanted}",
                name.as_str()
            ),
        ));
    }
    if Known::read(settings.known_hosts(), &name).judge(shown) == Verdict::Revoked {
        return Err(refused(
            Cause::KeyRevoked,
            format!("the key {fingerprint} is revoked by a known_hosts file (@revoked)"),
        ));
    }
    known_hosts::replace(
        &settings.user_known_hosts,
        &name,
        shown,
        settings.hash_known_hosts,
    )
    .map_err(|error| ConnectError::new(Cause::Misconfigured, format!("writing down the key: {error}")))
}
