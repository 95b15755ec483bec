//! A byte stream to the ssh port of a host: over TCP to whichever of its addresses answers first, or through the
//! program that the configuration says reaches it. Nothing of ssh is spoken here.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::{
    net::{TcpStream, lookup_host},
    process::{Child, Command},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::config::{Family, Settings};
use crate::{
    connect::{OnStep, Step},
    error::{Cause, ConnectError},
    stream::Said,
};

/// How long an address may take before the next one is tried beside it, as RFC 8305 advises.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// How many addresses of a host are tried.
const ADDRESSES: usize = 16;

/// How long what was sent may stay unacknowledged, milliseconds: then the connection is dead. With keepalive it finds a
/// half-open connection within 15 s, without a thread of ours waking up.
const UNACKNOWLEDGED: u32 = 10_000;

/// Quiet time after which the kernel asks whether the other end is there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How often it asks again.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(3);

/// How long to wait for what a program that reached nothing has to say about it.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// The connected socket. Ended by [`Socket::end`] from any thread, and when the last part of it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    fd: Arc<OwnedFd>,
    /// What reaches the host, where a program does.
    program: Option<Program>,
}

/// A program that reaches the host.
#[derive(Debug)]
struct Program {
    _child: Child,
    /// What it complains of.
    said: Arc<Said>,
    listening: JoinHandle<()>,
}

/// What a program that reaches the host is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct With<'a> {
    /// The user's `ssh`.
    pub(super) ssh: &'a Path,
    /// The agent of whoever connects.
    pub(super) agent: Option<&'a Path>,
}

impl Socket {
    /// The socket, for the thread that works with it.
    pub(super) fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// Adds to a failure what the program complained of, which may be the reason of it.
    pub(super) async fn explain(&mut self, mut error: ConnectError) -> ConnectError {
        let Some(program) = &mut self.program else {
            return error;
        };
        // It may be about to say it. It ends when there is nobody to pass bytes on for.
        let _ = shutdown(&self.fd, Shutdown::Both);
        let _ = timeout(LAST_WORDS_WITHIN, &mut program.listening).await;
        let said = program.said.text();
        if !said.is_empty() {
            let _ = write!(error.message, "; what is to reach it says: {said}");
        }
        error
    }

    /// Ends the connection: whoever waits for the other side hears of it at once.
    pub(super) fn end(&self) {
        let _ = shutdown(&self.fd, Shutdown::Both);
    }
}

/// Tells one step and its time.
pub(super) fn tell<T>(
    on_step: &OnStep,
    name: &'static str,
    since: Instant,
    outcome: &Result<T, ConnectError>,
    well: impl FnOnce(&T) -> String,
) {
    on_step(Step {
        name,
        took: since.elapsed(),
        ok: outcome.is_ok(),
        message: match outcome {
            Ok(found) => well(found),
            Err(error) => error.message.clone(),
        },
    });
}

/// Reaches the host.
pub(super) async fn reach(
    settings: &Settings,
    with: With<'_>,
    deadline: Instant,
    on_step: &OnStep,
) -> Result<Socket, ConnectError> {
    if !settings.is_direct() {
        let since = Instant::now();
        let reached = through_program(settings, with);
        tell(on_step, "connect", since, &reached, |_| {
            "through the program of the ssh configuration".to_owned()
        });
        return reached;
    }
    let since = Instant::now();
    let found = resolve(settings, deadline).await;
    tell(on_step, "resolve", since, &found, |found| {
        let all: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
        all.join(", ")
    });
    let addresses = found?;
    let since = Instant::now();
    let connected = first_of(&addresses, settings.connect_timeout, deadline).await;
    tell(on_step, "connect", since, &connected, |(_, address)| {
        address.to_string()
    });
    let (stream, _) = connected?;
    prepared(stream).map_err(|error| failed(&error, "the connection"))
}

async fn resolve(settings: &Settings, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = settings.hostname.as_str();
    let found = timeout_at(deadline, lookup_host((host, settings.port)))
        .await
        .map_err(|_elapsed| ConnectError::new(Cause::TimedOut, format!("looking up {host} took too long")))?
        .map_err(|error| {
            ConnectError::new(Cause::NoAddress, format!("{host} has no address: {error}"))
                .with_hint("check the name, and whether name resolution works here")
        })?;
    let wanted = found.filter(|address| match settings.family {
        Family::Any => true,
        Family::Inet => address.is_ipv4(),
        Family::Inet6 => address.is_ipv6(),
    });
    let addresses = interleaved(wanted.collect());
    if addresses.is_empty() {
        return Err(ConnectError::new(
            Cause::NoAddress,
            format!("{host} has no address of the family that AddressFamily asks for"),
        ));
    }
    Ok(addresses)
}

/// Both families in turn, beginning with that of the first, so that a network that swallows one costs a moment only.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair.iter().all(Option::is_none) || mixed.len() >= ADDRESSES {
            return mixed;
        }
        for address in pair.into_iter().flatten() {
            if !mixed.contains(&address) {
                mixed.push(address);
            }
        }
    }
}

/// Connects to the first address that answers. One that is slow does not keep the next one waiting for long.
async fn first_of(
    addresses: &[SocketAddr],
    each: Option<Duration>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut waiting = addresses.iter().copied();
    let mut tries = JoinSet::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some(tried) = tries.join_next(), if !tries.is_empty() => match tried {
                Ok((address, Ok(stream))) => return Ok((stream, address)),
                Ok((address, Err(error))) => {
                    failures.push((address, error));
                    next_at = Instant::now();
                }
                Err(error) => return Err(ConnectError::new(Cause::Unreachable, error.to_string())),
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    let until = each.map_or(deadline, |each| deadline.min(Instant::now() + each));
                    tries.spawn(async move {
                        let slow = |_elapsed| io::Error::from(io::ErrorKind::TimedOut);
                        let connected = timeout_at(until, TcpStream::connect(address)).await;
                        (address, connected.map_err(slow).and_then(|connected| connected))
                    });
                }
                next_at = Instant::now() + NEXT_ADDRESS;
            }
            else => return Err(none_of(&failures)),
        }
    }
}

/// Why no address answered. The cause is that of the address that came closest.
fn none_of(failures: &[(SocketAddr, io::Error)]) -> ConnectError {
    let cause = |error: &io::Error| failed(error, "").cause;
    let closeness = |found: &Cause| match found {
        Cause::Refused => 2,
        Cause::TimedOut => 1,
        _ => 0,
    };
    let best = failures
        .iter()
        .map(|(_, error)| cause(error))
        .max_by_key(closeness);
    let mut message = String::from("no address of the host answers");
    for (index, (address, error)) in failures.iter().enumerate().take(3) {
        let sign = if index == 0 { ':' } else { ';' };
        let why = match cause(error) {
            Cause::Refused => "connection refused".to_owned(),
            Cause::TimedOut => "no answer in time".to_owned(),
            _ => error.to_string(),
        };
        let _ = write!(message, "{sign} {address}: {why}");
    }
    let hint = match best {
        Some(Cause::Refused) => "check the port, and whether sshd runs there",
        _ => "check that the machine is up and that this network reaches it",
    };
    ConnectError::new(best.unwrap_or(Cause::Unreachable), message).with_hint(hint)
}

/// The failure of a socket.
pub(super) fn failed(error: &io::Error, what: &str) -> ConnectError {
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::TimedOut => Cause::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Cause::Cut
        }
        _ => Cause::Unreachable,
    };
    ConnectError::new(cause, format!("{what}: {error}"))
}

/// Sets the socket so that small messages go at once and a dead peer is found.
fn prepared(stream: TcpStream) -> io::Result<Socket> {
    let stream = stream.into_std()?;
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(&stream, 3)?;
    Ok(Socket {
        fd: Arc::new(stream.into()),
        program: None,
    })
}

/// Starts what reaches the host, on one end of a socket pair: `ssh -W` through the hosts to jump through, or the
/// user's command, which a shell reads as it does for ssh. Nobody can be asked through it.
fn through_program(settings: &Settings, with: With<'_>) -> Result<Socket, ConnectError> {
    let wrong = |what: &str| ConnectError::new(Cause::Misconfigured, what.to_owned());
    let mut command = match (&settings.proxy_jump, &settings.proxy_command) {
        (Some(jumps), _) => {
            let (before, last) = match jumps.rsplit_once(',') {
                Some((before, last)) => (Some(before), last),
                None => (None, jumps.as_str()),
            };
            let mut command = Command::new(with.ssh);
            command.args(["-o", "BatchMode=yes", "-W"]);
            command.arg(format!("[{}]:{}", settings.hostname, settings.port));
            if let Some(before) = before {
                command.args(["-J", before]);
            }
            // Of the form [user@]host[:port], which is what an address of this kind means.
            command.args(["--", &format!("ssh://{}", last.trim_start_matches("ssh://"))]);
            command
        }
        (None, Some(line)) => {
            let words = |text: &str| {
                text.replace("%h", &settings.hostname)
                    .replace("%p", &settings.port.to_string())
                    .replace("%r", &settings.user)
            };
            let line: Vec<String> = line.split("%%").map(words).collect();
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("exec {}", line.join("%"))]);
            command
        }
        (None, None) => return Err(wrong("no program reaches the host")),
    };
    // As for the host itself, not the agent that this process was once started with.
    match with.agent {
        Some(agent) => command.env("SSH_AUTH_SOCK", agent),
        None => command.env_remove("SSH_AUTH_SOCK"),
    };
    let start = || {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let child = command
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok::<_, io::Error>((ours, child))
    };
    let mut start = start;
    let (ours, mut child) =
        start().map_err(|error| wrong(&format!("starting what reaches the host: {error}")))?;
    let said = Arc::new(Said::default());
    let (stderr, keep) = (child.stderr.take(), Arc::clone(&said));
    let listening = tokio::spawn(async move {
        if let Some(stderr) = stderr {
            keep.listen(stderr).await;
        }
    });
    Ok(Socket {
        fd: Arc::new(ours.into()),
        program: Some(Program {
            _child: child,
            said,
            listening,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let all = [
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "1.1.1.1:1",
            "1.1.1.2:1",
            "[::1]:1",
        ];
        let parsed = all.iter().map(|text| text.parse().unwrap()).collect();
        let mixed: Vec<String> = interleaved(parsed).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_for_the_next() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let port = there.port();
        let refusing = SocketAddr::from(([127, 0, 0, 9], port));
        let deadline = Instant::now() + Duration::from_secs(10);
        let (_, address) = first_of(&[refusing, there], None, deadline).await.unwrap();
        assert_eq!(address, there);
        let error = first_of(&[refusing], None, deadline).await.unwrap_err();
        assert_eq!(error.cause, Cause::Refused, "{error}");
        assert!(error.message.contains(&refusing.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_is_none_has_no_address() {
        let settings = Settings {
            hostname: "no-such-host.invalid".to_owned(),
            port: 22,
            ..Settings::default()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        let error = resolve(&settings, deadline).await.unwrap_err();
        assert!(
            matches!(error.cause, Cause::NoAddress | Cause::TimedOut),
            "{error}"
        );
    }
}
