//! The user's own `ssh` as a carrier: for what the library cannot do, and for whoever wants it.
//!
//! It reads the user's configuration itself; what is given on its command line is what the host was added with, and what
//! would make it something else than a plain byte stream is turned off. Host keys are never waved through.

mod askpass;
mod explain;

use std::{ffi::OsString, path::PathBuf};

use tokio::{process::Command, sync::oneshot};

use crate::{
    command,
    connect::{Attempt, Purpose, Trust},
    error::ConnectError,
    route::SshRoute,
    ssh::{self, Settings, Strict},
    stream::Stream,
};

/// Seconds of silence after which `ssh` asks the host for a sign of life, and how many it may miss: a dead link is found
/// in 15 s even where nobody speaks the helper's protocol yet.
const ALIVE: [&str; 2] = ["ServerAliveInterval=5", "ServerAliveCountMax=2"];

/// What would make `ssh` more than a byte stream to one command. An existing master connection is used, since it may
/// have been opened with a second factor, but this never becomes one: it is killed when nobody wants it any more.
const PLAIN: [&str; 8] = [
    "ControlMaster=no",
    "ClearAllForwardings=yes",
    "ForwardX11=no",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "Tunnel=no",
    // The reasons of failures are read from what it says.
    "LogLevel=INFO",
];

/// An `ssh` that runs, and what people are asked through it.
pub(crate) struct Opened {
    /// Its bytes.
    pub(crate) stream: Stream,
    /// Hears what it asks, until the connection stands.
    pub(crate) askpass: Askpass,
}

pub(crate) use self::askpass::Askpass;

/// Starts `ssh`, which connects and runs `command` (one line for the login shell). Whether that works shows in its bytes
/// and in the reason of its end.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn open(
    attempt: &Attempt,
    route: &SshRoute,
    settings: &Settings,
    line: &str,
) -> Result<Opened, ConnectError> {
    let (give_up, given_up) = oneshot::channel();
    let askpass = Askpass::start(attempt, settings, give_up)?;
    let program = route.program.clone().unwrap_or_else(|| PathBuf::from("ssh"));
    let mut ssh = Command::new(program);
    ssh.args(arguments(attempt, route, settings, line));
    askpass.set(&mut ssh, attempt)?;
    // The agent that was handed over with the user's command, not what this process was once started with. One that the
    // configuration names goes before it.
    match &attempt.agent {
        Some(agent) => ssh.env("SSH_AUTH_SOCK", agent),
        None => ssh.env_remove("SSH_AUTH_SOCK"),
    };
    let known = askpass.asked();
    let explain = move |status, said: &str| explain::explain(status, said, &known);
    let stream = command::start_until(ssh, given_up, Box::new(explain), attempt.purpose)?;
    Ok(Opened { stream, askpass })
}

fn arguments(attempt: &Attempt, route: &SshRoute, settings: &Settings, line: &str) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-T".into()];
    let mut option = |text: String| args.extend([OsString::from("-o"), text.into()]);
    for text in ALIVE.iter().chain(&PLAIN) {
        option((*text).to_owned());
    }
    if attempt.purpose == Purpose::Haul {
        // A master of the user's would be slowed down by it.
        option("ControlPath=none".to_owned());
        // Nobody is there to be asked.
        option("PreferredAuthentications=publickey".to_owned());
        let mut ciphers = settings.ciphers.clone();
        ssh::fastest_first(&mut ciphers);
        if !ciphers.is_empty() {
            option(format!("Ciphers={}", ciphers.join(",")));
        }
    }
    // It also covers what a program that reaches the host does before the host itself is heard.
    let within = attempt.reached_within(settings);
    option(format!("ConnectTimeout={}", within.as_secs().max(1)));
    let strict = match (&attempt.trust, settings.strict) {
        (Trust::AcceptNew, _) => "accept-new",
        // The fingerprint is the answer to the question.
        (Trust::AcceptKey(_), _) => "ask",
        (Trust::Ask, Strict::Yes) => "yes",
        (Trust::Ask, Strict::AcceptNew) => "accept-new",
        (Trust::Ask, Strict::Ask) => "ask",
    };
    option(format!("StrictHostKeyChecking={strict}"));
    for (flag, value) in [
        ("-l", route.user.clone()),
        ("-p", route.port.map(|port| port.to_string())),
        ("-J", route.jump.clone()),
    ] {
        if let Some(value) = value {
            args.extend([flag.into(), value.into()]);
        }
    }
    for identity in &route.identities {
        // The half that is there may be the public one, the other with the agent.
        let file = ssh::there(identity).unwrap_or_else(|| identity.clone());
        args.extend(["-i".into(), file.into()]);
    }
    args.extend(["--".into(), route.destination.clone().into(), line.into()]);
    args
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use outlast_helper::service::SessionConfig;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{connect::WantedHelper, route::Route};

    fn attempt(questions: mpsc::Sender<crate::ask::Asked>) -> Attempt {
        Attempt {
            route: Route::Ssh(SshRoute::default()),
            purpose: Purpose::Control,
            helper: WantedHelper {
                owner: "test".to_owned(),
                sessions: SessionConfig {
                    history_limit: 1000,
                    user_copy_mode_keys: false,
                },
                libraries: Vec::new(),
            },
            trust: Trust::Ask,
            agent: None,
            passphrases: Vec::new(),
            questions,
            on_step: Arc::new(|_| {}),
            within: Duration::from_secs(2),
        }
    }

    fn is_given(attempt: &Attempt, settings: &Settings, option: &str) -> bool {
        let args = arguments(attempt, &SshRoute::default(), settings, "true");
        args.iter().any(|arg| arg == option)
    }

    /// As where the agent has the private half.
    #[test]
    fn a_key_is_named_by_the_half_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (half, whole) = (dir.path().join("half"), dir.path().join("whole"));
        let public = dir.path().join("half.pub");
        for file in [&public, &whole, &dir.path().join("whole.pub")] {
            std::fs::write(file, "").unwrap();
        }
        let route = SshRoute {
            identities: vec![half, whole.clone()],
            ..SshRoute::default()
        };
        let attempt = attempt(mpsc::channel(1).0);
        let args = arguments(&attempt, &route, &Settings::default(), "true");
        let named: Vec<_> = args.windows(2).filter(|pair| pair[0] == "-i").collect();
        let named: Vec<_> = named.iter().map(|pair| PathBuf::from(&pair[1])).collect();
        assert_eq!(named, [public, whole]);
    }

    #[test]
    fn what_is_huge_has_a_connection_of_its_own_and_asks_nobody() {
        let settings = Settings {
            ciphers: vec!["aes128-ctr".to_owned(), "aes128-gcm@openssh.com".to_owned()],
            ..Settings::default()
        };
        let bulk = Attempt {
            purpose: Purpose::Bulk,
            ..attempt(mpsc::channel(1).0)
        };
        let haul = Attempt {
            purpose: Purpose::Haul,
            ..bulk.clone()
        };
        for option in ["ControlPath=none", "PreferredAuthentications=publickey"] {
            assert!(is_given(&haul, &settings, option) && !is_given(&bulk, &settings, option));
        }
        let ciphers = |attempt: &Attempt| {
            let args = arguments(attempt, &SshRoute::default(), &settings, "true");
            let mut args = args.into_iter().filter_map(|arg| arg.into_string().ok());
            args.find(|arg| arg.starts_with("Ciphers="))
        };
        assert_eq!(ciphers(&bulk), None);
        // Which one comes first depends on the processor; none is lost.
        let hauls = ciphers(&haul).unwrap_or_default();
        assert!(
            settings
                .ciphers
                .iter()
                .all(|cipher| hauls.contains(cipher.as_str())),
            "{hauls}"
        );
    }

    /// `ssh` counts the login to a bastion, and what is asked for it, into the time that the host is given to answer.
    #[test]
    fn a_way_through_others_is_given_time_for_them() {
        let nobody = attempt(mpsc::channel(1).0);
        let (questions, _person) = mpsc::channel(1);
        let somebody = attempt(questions);
        let direct = Settings::default();
        let jump = Settings {
            proxy_jump: Some("gate".to_owned()),
            ..Settings::default()
        };
        let command = Settings {
            proxy_command: Some("reach %h".to_owned()),
            ..Settings::default()
        };
        assert!(is_given(&nobody, &direct, "ConnectTimeout=2"));
        assert!(is_given(&somebody, &direct, "ConnectTimeout=2"));
        for through in [jump, command] {
            assert!(is_given(&nobody, &through, "ConnectTimeout=30"));
            assert!(is_given(&somebody, &through, "ConnectTimeout=600"));
        }
    }
}
