//! One attempt at a connection, from the route to the facts of the machine.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use outlast_client::helper_v1::{GetFactsRequest, PingRequest};
use outlast_model::host::{Host, Route};
use outlast_transport::{
    HelperClient,
    ask::{Asked, Secret},
    connect::{Attempt, Connection, OnStep, Purpose, Step, Trust, WantedHelper, connect},
    route,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tonic::Status;

use super::{
    agent::Agent,
    view::{Facts, Trouble},
};

/// How long a helper may take to say who it is; asking tmux for its version is the slowest part.
const FACTS_DEADLINE: Duration = Duration::from_secs(10);

/// How long one attempt may take until authentication begins, where nothing is known of the way: slow links and name
/// servers that are tried in turn take seconds.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// The least an attempt may take where the way is known; more on a way of more than 400 ms.
const LEAST_WITHIN: Duration = Duration::from_secs(2);

/// One of so many attempts in a row takes its time, whatever is known of the way: a host that needs seconds to answer, on
/// a short way, would never be reached again otherwise.
const PATIENT_EVERY: u32 = 4;

/// Questions that may be under way: they are asked one after the other.
const QUESTIONS: usize = 4;

/// What all attempts share.
#[derive(Debug)]
pub(super) struct Means {
    /// The helper that is wanted at the far end.
    pub(super) helper: WantedHelper,
    /// The user's ssh-agent.
    pub(super) agent: Agent,
    /// Passphrases that were typed, by key file. In memory only.
    pub(super) passphrases: Mutex<HashMap<PathBuf, Secret>>,
}

impl Means {
    fn passphrases(&self) -> Vec<(PathBuf, Secret)> {
        let known = self.passphrases.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .map(|(file, secret)| (file.clone(), secret.clone()))
            .collect()
    }

    fn keep(&self, fit: &[(PathBuf, Secret)]) {
        let mut known = self.passphrases.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(fit.iter().cloned());
    }
}

/// Who is there to be asked, and what they decided beforehand.
pub(super) struct Audience {
    /// What to do about an unknown key.
    pub(super) trust: Trust,
    /// Where questions go. Absent: nobody is there, and none is answered.
    pub(super) questions: Option<mpsc::Sender<Asked>>,
    /// Hears of steps.
    pub(super) on_step: OnStep,
}

impl Audience {
    /// Nobody is there.
    pub(super) fn nobody() -> Self {
        Self {
            trust: Trust::Ask,
            questions: None,
            on_step: Arc::new(|_step| {}),
        }
    }
}

/// A connection and who is at its end.
pub(super) struct Reached {
    pub(super) connection: Connection,
    pub(super) facts: Facts,
    pub(super) rtt: Duration,
}

/// How long an attempt may take until authentication begins: after so many failures in a row, on a way of this length.
fn within(rtt: Option<Duration>, failures: u32) -> Duration {
    match rtt {
        Some(rtt) if failures % PATIENT_EVERY != PATIENT_EVERY - 1 => LEAST_WITHIN.max(rtt * 5),
        Some(_) | None => FIRST_WITHIN,
    }
}

/// How an attempt is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// What for.
    pub(super) purpose: Purpose,
    /// How long the way was last. Absent: not known, or it is not to count.
    pub(super) rtt: Option<Duration>,
    /// Attempts that failed in a row before this one.
    pub(super) failures: u32,
}

/// Makes a connection and asks who is there.
pub(super) async fn reach(
    host: &Host,
    means: &Means,
    audience: &Audience,
    manner: Manner,
) -> Result<Reached, Trouble> {
    let connection = open(host, means, audience, manner).await?;
    let (facts, rtt) = look(&connection.client, &audience.on_step)
        .await
        .map_err(Trouble::helper)?;
    if host
        .machine_id
        .as_ref()
        .is_some_and(|known| *known != facts.machine_id)
    {
        return Err(Trouble::other_machine(host.name.as_str()));
    }
    Ok(Reached {
        connection,
        facts,
        rtt,
    })
}

/// Makes a connection. Passphrases that fit are kept.
async fn open(
    host: &Host,
    means: &Means,
    audience: &Audience,
    manner: Manner,
) -> Result<Connection, Trouble> {
    let questions = audience
        .questions
        .clone()
        // With nobody at the other end every question is declined at once.
        .unwrap_or_else(|| mpsc::channel(QUESTIONS).0);
    let attempt = Attempt {
        route: transport_route(&host.route),
        purpose: manner.purpose,
        helper: means.helper.clone(),
        trust: audience.trust.clone(),
        agent: means.agent.socket(),
        passphrases: means.passphrases(),
        questions,
        on_step: Arc::clone(&audience.on_step),
        within: within(manner.rtt, manner.failures),
    };
    let connection = connect(attempt)
        .await
        .map_err(|error| Trouble::connecting(host.name.as_str(), error))?;
    means.keep(&connection.passphrases);
    Ok(connection)
}

/// Measures the way and asks the helper for its facts. The error is one sentence.
pub(super) async fn look(client: &HelperClient, on_step: &OnStep) -> Result<(Facts, Duration), String> {
    let said = |status: &Status| format!("the helper does not answer: {}", status.message());
    let late = || format!("the helper did not answer within {} s", FACTS_DEADLINE.as_secs());
    let began = Instant::now();
    // Both at once: one after the other they would cost a round trip more.
    let ping = async {
        let mut client = client.clone();
        client.ping(PingRequest {}).await.map(|_pong| began.elapsed())
    };
    let facts = async {
        let mut client = client.clone();
        client.get_facts(GetFactsRequest {}).await
    };
    let found = match timeout(FACTS_DEADLINE, async { tokio::try_join!(ping, facts) }).await {
        Ok(Ok((rtt, facts))) => Ok((facts.into_inner(), rtt)),
        Ok(Err(status)) => Err(said(&status)),
        Err(_late) => Err(late()),
    };
    let took = began.elapsed();
    let step = |ok, message| {
        on_step(Step {
            name: "facts",
            took,
            ok,
            message,
        });
    };
    match &found {
        Ok((facts, rtt)) => {
            step(
                true,
                format!(
                    "{} {}, user {}, round trip {:.1} ms",
                    facts.os,
                    facts.arch,
                    facts.user,
                    rtt.as_secs_f64() * 1e3
                ),
            );
            on_step(Step {
                name: "tmux",
                took: Duration::ZERO,
                ok: facts.tmux_problem.is_none(),
                message: match (&facts.tmux_problem, &facts.tmux_version) {
                    (Some(problem), _) => format!("{problem}; jobs work, sessions do not"),
                    (None, Some(version)) => format!("tmux {version}"),
                    (None, None) => "no word of tmux".to_owned(),
                },
            });
        }
        Err(error) => step(false, error.clone()),
    }
    found
}

/// The route as the transport wants it.
pub(super) fn transport_route(from: &Route) -> route::Route {
    match from {
        Route::Command(words) => route::Route::Command(words.clone()),
        Route::Ssh(ssh) => route::Route::Ssh(route::SshRoute {
            destination: ssh.destination.clone(),
            user: ssh.user.clone(),
            port: ssh.port,
            identities: ssh.identities.iter().map(PathBuf::from).collect(),
            jump: ssh.jump.clone(),
            program: None,
            carrier: ssh.carrier.map(|carrier| match carrier {
                outlast_model::host::Carrier::Ssh2 => route::SshCarrier::Ssh2,
                outlast_model::host::Carrier::Ssh => route::SshCarrier::Ssh,
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_attempt_on_a_known_way_takes_its_time() {
        let short = Some(Duration::from_millis(1));
        let all: Vec<_> = (0..8).map(|failures| within(short, failures)).collect();
        let [brief, long] = [LEAST_WITHIN, FIRST_WITHIN];
        assert_eq!(all, [brief, brief, brief, long, brief, brief, brief, long]);
        assert_eq!(within(None, 0), FIRST_WITHIN);
        assert_eq!(within(Some(Duration::from_secs(1)), 0), Duration::from_secs(5));
    }
}
