//! Which carrier serves a host: the library, or the user's own `ssh` for what the library cannot do. Pure.

use super::{config::Settings, key};
use crate::route::{SshCarrier, SshRoute};

/// A carrier and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The carrier.
    pub(crate) carrier: SshCarrier,
    /// The reason, in words for people: a clause without a full stop.
    pub(crate) reason: String,
}

/// Chooses. What the route says goes before what the settings need.
pub(crate) fn choose(route: &SshRoute, settings: &Settings) -> Choice {
    if let Some(carrier) = route.carrier {
        return Choice {
            carrier,
            reason: "it was chosen when the host was added".to_owned(),
        };
    }
    match beyond_the_library(settings) {
        Some(reason) => Choice {
            carrier: SshCarrier::Ssh,
            reason,
        },
        None => Choice {
            carrier: SshCarrier::Ssh2,
            reason: "the connection needs nothing that the library cannot do".to_owned(),
        },
    }
}

/// What of the settings the library cannot do.
fn beyond_the_library(settings: &Settings) -> Option<String> {
    if let Some(jump) = &settings.proxy_jump {
        return Some(format!("it goes through {jump} (ProxyJump)"));
    }
    if settings.proxy_command.is_some() {
        return Some("a ProxyCommand reaches it".to_owned());
    }
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
    for identity in &settings.identities {
        let file = identity.file.display();
        if identity.certified {
            return Some(format!("there is a certificate for the key {file}"));
        }
        let kind = identity.public.as_deref().and_then(key::kind);
        if identity.encrypted.is_some() && kind.is_some_and(|kind| kind.starts_with("sk-")) {
            return Some(format!("{file} is a FIDO key"));
        }
    }
    let preferred = &settings.preferred_authentications;
    let wants = |way: &str| preferred.is_empty() || preferred.iter().any(|one| one == way);
    if settings.gssapi && settings.ticket && wants("gssapi-with-mic") {
        return Some("there is a Kerberos ticket (GSSAPIAuthentication)".to_owned());
    }
    if settings.hostbased && wants("hostbased") {
        return Some("this machine's own key logs in to it (HostbasedAuthentication)".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::config::Identity, *};

    /// What the settings of one need make of it.
    fn reason(set: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings {
            gssapi: true,
            security_key_provider: Some("internal".to_owned()),
            ..Settings::default()
        };
        set(&mut settings);
        let choice = choose(&SshRoute::default(), &settings);
        assert_eq!(choice.carrier, SshCarrier::Ssh, "{choice:?}");
        for (carrier, wanted) in [
            (SshCarrier::Ssh2, SshCarrier::Ssh2),
            (SshCarrier::Ssh, SshCarrier::Ssh),
        ] {
            let route = SshRoute {
                carrier: Some(carrier),
                ..SshRoute::default()
            };
            assert_eq!(choose(&route, &settings).carrier, wanted);
        }
        choice.reason
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
            security_key_provider: Some("internal".to_owned()),
            identities: vec![
                identity("ssh-ed25519"),
                // Only its public half is here: the agent has it.
                Identity {
                    encrypted: None,
                    ..identity("sk-ssh-ed25519@openssh.com")
                },
            ],
            ..Settings::default()
        };
        let choice = choose(&SshRoute::default(), &settings);
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
        assert!(reason(|it| it.hostbased = true).contains("Hostbased"));
        let certified = || Identity {
            certified: true,
            ..identity("ssh-ed25519")
        };
        assert!(reason(|it| it.identities = vec![certified()]).contains("certificate"));
        for kind in ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] {
            assert!(reason(|it| it.identities = vec![identity(kind)]).contains("FIDO"));
        }
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
            assert_eq!(choose(&SshRoute::default(), &settings).carrier, SshCarrier::Ssh2);
        }
    }
}
