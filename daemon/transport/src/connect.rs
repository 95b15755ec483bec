//! Making a connection: the one entrance, whatever carries it.
//!
//! ```text
//!   route ──► carrier (ssh2 | ssh | command) ──► bootstrap of the helper ──► gRPC over the byte stream ──► Connection
//! ```

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use outlast_helper::{serve::Traffic, service::SessionConfig};
use tokio::sync::{mpsc, watch};

use crate::{
    HelperClient,
    ask::{Asked, Secret},
    bootstrap::{Bootstrap, Started},
    command,
    error::ConnectError,
    library, openssh,
    route::{Carrier, Route, SshCarrier, SshRoute},
    ssh,
    stream::Stream,
    wire::{Pulse, wire},
};

/// What a connection is for: it decides the windows, so that bulk never delays control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Short calls and terminals: small windows, quick answers.
    Control,
    /// Logs and files: wide windows.
    Bulk,
    /// The same by the gigabyte and to a host nearby, where the processor and not the line is what it waits for: by the
    /// user's own `ssh`, which encrypts several times as fast as the library. Where that has to ask, there is none.
    Haul,
}

impl Purpose {
    /// What the connection carries.
    pub(crate) const fn traffic(self) -> Traffic {
        match self {
            Self::Control => Traffic::Control,
            Self::Bulk | Self::Haul => Traffic::Bulk,
        }
    }

    /// Whether it stands back behind control calls.
    pub(crate) const fn is_much(self) -> bool {
        !matches!(self, Self::Control)
    }
}

/// What to do about a host key that is not known. A changed or revoked one is refused in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Ask; without an answer refuse.
    #[default]
    Ask,
    /// Take it and write it down.
    AcceptNew,
    /// Take it when it has this fingerprint (`SHA256:…`), and write it down.
    AcceptKey(String),
}

/// The helper that is wanted at the far end.
#[derive(Debug, Clone)]
pub struct WantedHelper {
    /// Device id of the daemon.
    pub owner: String,
    /// How sessions are to be.
    pub sessions: SessionConfig,
    /// Directories in which helper programs are looked for, the first that has one counts:
    /// `outlast-helper-<arch>-linux-musl`, else `outlast-helper` where its platform fits.
    pub libraries: Vec<PathBuf>,
}

/// One step on the way, told as it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name: "resolve", "connect", "key exchange", "host key", "authenticate", "helper".
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Whether it came out well.
    pub ok: bool,
    /// What was found, one sentence.
    pub message: String,
}

/// Hears of steps. Called from any thread; must not block.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// Everything a connection is made from.
#[derive(Clone)]
pub struct Attempt {
    /// The way.
    pub route: Route,
    /// What it is for.
    pub purpose: Purpose,
    /// The helper.
    pub helper: WantedHelper,
    /// What to do about an unknown host key.
    pub trust: Trust,
    /// Socket of the ssh-agent to use where the ssh configuration names none (`IdentityAgent`).
    pub agent: Option<PathBuf>,
    /// Passphrases that are known, by file of the key: kept in memory by the caller.
    pub passphrases: Vec<(PathBuf, Secret)>,
    /// Where questions go.
    pub questions: mpsc::Sender<Asked>,
    /// Hears of steps.
    pub on_step: OnStep,
    /// How long one attempt may take until authentication begins (address, TCP, key exchange). What a person is asked
    /// does not count; bootstrap and upload have their own bounds. A way through other machines is given more.
    pub within: Duration,
}

/// The least that a way through other machines is given: each of them is connected and logged in to first.
pub(crate) const THROUGH_OTHERS: Duration = Duration::from_secs(30);

/// What such a way is given where a person is there, whom each of the machines may ask something: so long as a question
/// may stay without an answer.
const WITH_A_PERSON: Duration = Duration::from_secs(600);

impl Attempt {
    /// How long it may take until the host itself is there to be spoken to.
    pub(crate) fn reached_within(&self, settings: &ssh::Settings) -> Duration {
        if settings.is_direct() {
            self.within
        } else if self.questions.is_closed() {
            self.within.max(THROUGH_OTHERS)
        } else {
            WITH_A_PERSON
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("route", &self.route)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// A connection to a helper. Dropping it closes it; what the helper started lives on.
pub struct Connection {
    /// Calls the helper. Clones outlive the connection and fail with `Unavailable` or `Unknown` then.
    pub client: HelperClient,
    /// What carries it.
    pub carrier: Carrier,
    /// Turns from None to the reason when the connection is gone, whoever ended it.
    pub closed: watch::Receiver<Option<ConnectError>>,
    /// Passphrases that were asked for and fit.
    pub passphrases: Vec<(PathBuf, Secret)>,
    /// Whether the user's ssh configuration wants the agent forwarded to this host.
    pub forward_agent: bool,
    /// What goes over it.
    pub(crate) pulse: Arc<Pulse>,
    /// Ends the carrier when dropped.
    pub(crate) _guard: Box<dyn Send + Sync>,
}

impl Connection {
    /// Whether anything came from the host after this moment.
    #[must_use]
    pub fn heard_since(&self, moment: tokio::time::Instant) -> bool {
        self.pulse.heard_at() > moment
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("carrier", &self.carrier)
            .finish_non_exhaustive()
    }
}

/// Makes a connection. Cancelling (dropping the future) ends the attempt.
///
/// # Errors
/// Why there is none.
pub async fn connect(attempt: Attempt) -> Result<Connection, ConnectError> {
    let programs = library::find(&attempt.helper.libraries).await?;
    let bootstrap = Bootstrap::new(&attempt.helper, attempt.purpose, programs)?;
    let mut carried = carry(&attempt, &bootstrap).await?;
    let began = Instant::now();
    let asked = carried.askpass.as_ref().map(openssh::Askpass::asked);
    let waits = || asked.as_ref().and_then(|asked| asked.last());
    let started = bootstrap.run(&mut carried.stream, &waits).await;
    (attempt.on_step)(helper_step(began, &started));
    let started = started?;
    // What start files complained of has no part in the reason of an end to come.
    carried.stream.said.clear();
    let mut passphrases = carried.passphrases;
    if let Some(asked) = &asked {
        asked.stands();
        passphrases.extend(asked.passphrases());
    }
    // Nothing more is asked on a connection that stands.
    drop(carried.askpass.take());
    let wire = wire(carried.stream, started.rest, attempt.purpose.traffic()).await?;
    Ok(Connection {
        client: wire.client,
        carrier: carried.carrier,
        closed: wire.closed,
        passphrases,
        forward_agent: carried.forward_agent,
        pulse: wire.pulse,
        _guard: wire.guard,
    })
}

/// A byte stream to the login shell that runs the bootstrap.
struct Carried {
    stream: Stream,
    carrier: Carrier,
    passphrases: Vec<(PathBuf, Secret)>,
    forward_agent: bool,
    /// Hears what is asked meanwhile, where it is asked by a program.
    askpass: Option<openssh::Askpass>,
}

async fn carry(attempt: &Attempt, bootstrap: &Bootstrap) -> Result<Carried, ConnectError> {
    let carried = |stream, carrier| Carried {
        stream,
        carrier,
        passphrases: Vec::new(),
        forward_agent: false,
        askpass: None,
    };
    let route = match &attempt.route {
        Route::Command(argv) => {
            let mut stream = command::shell(argv, attempt.purpose)?;
            bootstrap.type_line(&mut stream).await?;
            return Ok(carried(stream, Carrier::Command));
        }
        Route::Ssh(route) => route,
    };
    let hauls = (attempt.purpose == Purpose::Haul).then(|| SshRoute {
        carrier: Some(SshCarrier::Ssh),
        ..route.clone()
    });
    let route = hauls.as_ref().unwrap_or(route);
    let settings = ssh::settings(route).await?;
    // What the agent has decides as well; the program asks it by itself.
    let agent = match route.carrier {
        Some(SshCarrier::Ssh) => ssh::AgentFound::default(),
        _ => ssh::agent(attempt, &settings).await,
    };
    let choice = ssh::choose(route, &settings, &agent)?;
    let mut carried = match choice.carrier {
        SshCarrier::Ssh2 => {
            let (stream, passphrases) = ssh::open(attempt, route, &settings, agent, bootstrap.line()).await?;
            Carried {
                passphrases,
                ..carried(stream, Carrier::Ssh2)
            }
        }
        SshCarrier::Ssh => {
            let opened = openssh::open(attempt, route, &settings, bootstrap.line())?;
            Carried {
                askpass: Some(opened.askpass),
                ..carried(opened.stream, Carrier::Ssh)
            }
        }
    };
    carried.forward_agent = settings.forward_agent;
    Ok(carried)
}

fn helper_step(began: Instant, started: &Result<Started, ConnectError>) -> Step {
    let message = match started {
        Ok(Started { uploaded: None, .. }) => "it is there".to_owned(),
        Ok(Started {
            uploaded: Some(bytes),
            ..
        }) => format!("sent, {bytes} bytes"),
        Err(error) => error.message.clone(),
    };
    Step {
        name: "helper",
        took: began.elapsed(),
        ok: started.is_ok(),
        message,
    }
}
