//! Which carrier serves a host: the library, or the user's own `ssh` for what the library cannot do. Pure.

use super::{
    agent::{AgentKey, Found},
    auth::offers::{Offer, offers},
    config::Settings,
    key,
};
use crate::{
    error::{Cause, ConnectError},
    route::{SshCarrier, SshRoute},
};

/// A carrier and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The carrier.
    pub(crate) carrier: SshCarrier,
    /// The reason, in words for people: a clause without a full stop.
    pub(crate) reason: String,
}

/// Chooses. What the route says goes before what the settings need, and what would be offered of the agent.
///
/// # Errors
/// When the library was asked for, and would go another way than the settings say, or trust another key.
pub(crate) fn choose(route: &SshRoute, settings: &Settings, agent: &Found) -> Result<Choice, ConnectError> {
    decide(route, settings, agent.keys())
}

fn decide(route: &SshRoute, settings: &Settings, keys: &[AgentKey]) -> Result<Choice, ConnectError> {
    if let Some(carrier) = route.carrier {
        let passed_over = passed_over(settings).filter(|_| carrier == SshCarrier::Ssh2);
        if let Some(reason) = passed_over {
            let text = format!("ssh2 was asked for, but {reason}");
            let hint = "`outlast host remove NAME`, then add it without --transport ssh2";
            return Err(ConnectError::new(Cause::Misconfigured, text).with_hint(hint));
        }
        return Ok(Choice {
            carrier,
            reason: "it was chosen when the host was added".to_owned(),
        });
    }
    let beyond = beyond_the_library(settings).or_else(|| fido(route, settings, keys));
    Ok(match beyond {
        Some(reason) => Choice {
            carrier: SshCarrier::Ssh,
            reason,
        },
        None => Choice {
            carrier: SshCarrier::Ssh2,
            reason: "the connection needs nothing that the library cannot do".to_owned(),
        },
    })
}

/// What of the settings the library cannot do.
fn beyond_the_library(settings: &Settings) -> Option<String> {
    if let Some(jump) = &settings.proxy_jump {
        return Some(format!("it goes through {jump} (ProxyJump)"));
    }
    if settings.proxy_command.is_some() {
        return Some("a ProxyCommand reaches it".to_owned());
    }
    passed_over(settings).or_else(|| missed(settings))
}

/// What of the settings the library would pass over without a word: which way the host is reached, whom it is known by,
/// and what it is logged in to with.
fn passed_over(settings: &Settings) -> Option<String> {
    if let Some(from) = &settings.bind {
        return Some(format!(
            "it is reached from {from} only (BindAddress or BindInterface)"
        ));
    }
    if settings.host_authority {
        return Some("a certificate authority vouches for its key (@cert-authority)".to_owned());
    }
    if settings.known_hosts_command.is_some() {
        return Some("a command says which host keys are known (KnownHostsCommand)".to_owned());
    }
    if settings.revoked_host_keys.is_some() {
        return Some("a file lists revoked host keys (RevokedHostKeys)".to_owned());
    }
    if settings.pkcs11_provider.is_some() {
        return Some("a token has the key (PKCS11Provider)".to_owned());
    }
    if let Some(file) = settings.certificate_files.first() {
        return Some(format!(
            "it is logged in to with the certificate {}",
            file.display()
        ));
    }
    None
}

/// What of the settings the library does without, for better or worse.
fn missed(settings: &Settings) -> Option<String> {
    for identity in &settings.identities {
        let file = identity.file.display();
        if identity.certified {
            return Some(format!("there is a certificate for the key {file}"));
        }
        if identity.public.as_deref().is_some_and(key::is_fido) {
            return Some(format!("{file} is a FIDO key"));
        }
    }
    let preferred = &settings.preferred_authentications;
    let wants = |way: &str| preferred.is_empty() || preferred.iter().any(|one| one == way);
    if settings.gssapi && settings.ticket && wants("gssapi-with-mic") {
        return Some("there is a Kerberos ticket (GSSAPIAuthentication)".to_owned());
    }
    if settings.set_env {
        return Some("it is given variables (SetEnv)".to_owned());
    }
    if settings.hostbased && wants("hostbased") {
        return Some("this machine's own key logs in to it (HostbasedAuthentication)".to_owned());
    }
    None
}

/// A FIDO key that only the agent has and that would be offered.
fn fido(route: &SshRoute, settings: &Settings, keys: &[AgentKey]) -> Option<String> {
    let offers = offers(settings, &route.identities, keys);
    offers.iter().find_map(|offer| match offer {
        Offer::Agent(key) if key::is_fido(&key.public) => {
            Some(format!("the agent has a FIDO key ({})", key.comment))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::config::Identity, *};

    /// What the settings of one need make of it.
    fn reason(set: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings {
            gssapi: true,
            ..Settings::default()
        };
        set(&mut settings);
        let choice = decide(&SshRoute::default(), &settings, &[]).unwrap();
        assert_eq!(choice.carrier, SshCarrier::Ssh, "{choice:?}");
        assert_eq!(
            decide(&by(SshCarrier::Ssh), &settings, &[]).unwrap().carrier,
            SshCarrier::Ssh
        );
        if let Ok(forced) = decide(&by(SshCarrier::Ssh2), &settings, &[]) {
            assert_eq!(forced.carrier, SshCarrier::Ssh2);
        }
        choice.reason
    }

    /// A way by this carrier alone.
    fn by(carrier: SshCarrier) -> SshRoute {
        SshRoute {
            carrier: Some(carrier),
            ..SshRoute::default()
        }
    }

    /// The library is not made to do what it would pass over.
    #[test]
    fn the_library_is_refused_where_it_would_pass_over_what_is_wanted() {
        let some = || Some("x".to_owned());
        let refused: [&dyn Fn(&mut Settings); 6] = [
            &|it| it.bind = some(),
            &|it| it.host_authority = true,
            &|it| it.known_hosts_command = some(),
            &|it| it.revoked_host_keys = some(),
            &|it| it.pkcs11_provider = some(),
            &|it| it.certificate_files = vec!["/c".into()],
        ];
        for set in refused {
            let mut settings = Settings::default();
            set(&mut settings);
            let error = decide(&by(SshCarrier::Ssh2), &settings, &[]).unwrap_err();
            assert_eq!(error.cause, Cause::Misconfigured);
            assert!(error.message.starts_with("ssh2 was asked for, but "), "{error}");
            assert!(error.hint.unwrap().contains("outlast host remove"));
        }
        let taken: [&dyn Fn(&mut Settings); 4] = [
            &|it| it.proxy_jump = some(),
            &|it| it.proxy_command = some(),
            &|it| it.set_env = true,
            &|it| it.hostbased = true,
        ];
        for set in taken {
            let mut settings = Settings::default();
            set(&mut settings);
            assert!(decide(&by(SshCarrier::Ssh2), &settings, &[]).is_ok());
        }
    }

    fn identity(kind: &str) -> Identity {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        Identity {
            file: "/k".into(),
            public: Some([&length, kind.as_bytes()].concat()),
            encrypted: Some(false),
            certified: false,
        }
    }

    #[test]
    fn the_library_serves_what_needs_nothing_else() {
        let settings = Settings {
            gssapi: true,
            identities: vec![identity("ssh-ed25519")],
            ..Settings::default()
        };
        let choice = decide(&SshRoute::default(), &settings, &[]).unwrap();
        assert_eq!(choice.carrier, SshCarrier::Ssh2, "{choice:?}");
    }

    #[test]
    fn what_the_library_cannot_do_goes_to_the_program() {
        let some = || Some("x".to_owned());
        assert!(reason(|it| it.proxy_jump = some()).contains("ProxyJump"));
        assert!(reason(|it| it.proxy_command = some()).contains("ProxyCommand"));
        assert!(reason(|it| it.bind = some()).contains("BindAddress"));
        assert!(reason(|it| it.host_authority = true).contains("@cert-authority"));
        assert!(reason(|it| it.known_hosts_command = some()).contains("KnownHostsCommand"));
        assert!(reason(|it| it.revoked_host_keys = some()).contains("RevokedHostKeys"));
        assert!(reason(|it| it.pkcs11_provider = some()).contains("PKCS11"));
        assert!(reason(|it| it.certificate_files = vec!["/c".into()]).contains("/c"));
        assert!(reason(|it| it.ticket = true).contains("Kerberos"));
        assert!(reason(|it| it.set_env = true).contains("SetEnv"));
        assert!(reason(|it| it.hostbased = true).contains("Hostbased"));
        let certified = || Identity {
            certified: true,
            ..identity("ssh-ed25519")
        };
        assert!(reason(|it| it.identities = vec![certified()]).contains("certificate"));
        for kind in ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] {
            assert!(reason(|it| it.identities = vec![identity(kind)]).contains("FIDO"));
            // Only its public half is here: the agent has the other.
            let half = || Identity {
                encrypted: None,
                ..identity(kind)
            };
            assert!(reason(|it| it.identities = vec![half()]).contains("FIDO"));
        }
    }

    #[test]
    fn fido_keys_of_the_agent_count_where_they_would_be_offered() {
        let key = |kind: &str| AgentKey {
            public: identity(kind).public.unwrap(),
            comment: "mine".to_owned(),
        };
        let keys = [key("ssh-ed25519"), key("sk-ssh-ed25519@openssh.com")];
        let mut settings = Settings::default();
        let choice = decide(&SshRoute::default(), &settings, &keys).unwrap();
        assert_eq!(choice.carrier, SshCarrier::Ssh);
        assert!(choice.reason.contains("FIDO"), "{choice:?}");
        let forced = decide(&by(SshCarrier::Ssh2), &settings, &keys).unwrap();
        assert_eq!(forced.carrier, SshCarrier::Ssh2);
        settings.identities_only = true;
        let choice = decide(&SshRoute::default(), &settings, &keys).unwrap();
        assert_eq!(choice.carrier, SshCarrier::Ssh2);
    }

    #[test]
    fn a_ticket_counts_only_where_it_is_wanted() {
        for settings in [
            Settings {
                ticket: true,
                ..Settings::default()
            },
            Settings {
                ticket: true,
                gssapi: true,
                preferred_authentications: vec!["publickey".to_owned()],
                ..Settings::default()
            },
        ] {
            let choice = decide(&SshRoute::default(), &settings, &[]).unwrap();
            assert_eq!(choice.carrier, SshCarrier::Ssh2);
        }
    }
}
