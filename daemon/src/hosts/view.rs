//! What is known of a host, as a value with a generation.

use std::time::Duration;

use outlast_client::helper_v1;
use outlast_model::{
    host::{LOCAL, Link, Seen},
    job::TimeMs,
};
use outlast_transport::{
    error::{Cause, ConnectError},
    route::Carrier,
};

/// What a helper says of its host.
pub type Facts = helper_v1::GetFactsResponse;

/// What was last seen of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostView {
    /// Grows with every change.
    pub generation: u64,
    /// The connection.
    pub link: Link,
    /// Why the link is not up. Absent while it is up, and before the first attempt has failed.
    pub trouble: Option<Trouble>,
    /// What the helper said last. Absent when it never answered.
    pub facts: Option<Facts>,
    /// How long the helper took to answer last.
    pub rtt: Option<Duration>,
    /// When it did.
    pub observed_at: Option<TimeMs>,
    /// When the next attempt is due. Absent unless the link is in backoff.
    pub next_try_at: Option<TimeMs>,
    /// What carries the connection, or carried it last.
    pub carrier: Option<Carrier>,
    /// How often it came up since the daemon started.
    pub arrivals: u64,
}

impl Default for HostView {
    fn default() -> Self {
        Self {
            generation: 0,
            link: Link::Connecting,
            trouble: None,
            facts: None,
            rtt: None,
            observed_at: None,
            next_try_at: None,
            carrier: None,
            arrivals: 0,
        }
    }
}

impl HostView {
    /// Before the first attempt, with what an earlier daemon saw.
    #[must_use]
    pub fn of(seen: Option<&Seen>) -> Self {
        let facts = |seen: &Seen| Facts {
            os: seen.os.clone(),
            arch: seen.arch.clone(),
            user: seen.user.clone(),
            helper_version: seen.helper_version.clone(),
            tmux_version: seen.tmux_version.clone(),
            boot_id: seen.boot_id.clone(),
            ..Facts::default()
        };
        Self {
            facts: seen.map(facts),
            observed_at: seen.map(|seen| seen.at),
            ..Self::default()
        }
    }

    /// What a later daemon is to know. Absent: nothing was seen.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        let facts = self.facts.as_ref()?;
        Some(Seen {
            at: self.observed_at?,
            os: facts.os.clone(),
            arch: facts.arch.clone(),
            user: facts.user.clone(),
            helper_version: facts.helper_version.clone(),
            tmux_version: facts.tmux_version.clone(),
            boot_id: facts.boot_id.clone(),
        })
    }
}

/// Why a link is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it makes of the link.
    pub link: Link,
    /// The word programs know it by.
    pub reason: &'static str,
    /// One sentence. Parts of it may come from the host.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
    /// Fingerprint of the key the host showed, where the key is the matter.
    pub key_shown: Option<String>,
    /// Fingerprints of the keys known for it.
    pub keys_known: Vec<String>,
}

impl Trouble {
    /// A helper that does not answer.
    #[must_use]
    pub fn helper(message: String) -> Self {
        Self {
            link: Link::Backoff,
            reason: Cause::HelperFailed.as_str(),
            message,
            hint: None,
            key_shown: None,
            keys_known: Vec::new(),
        }
    }

    /// Why no connection to the host of this name came about.
    #[must_use]
    pub fn connecting(name: &str, error: ConnectError) -> Self {
        let link = match error.cause {
            Cause::AuthRejected | Cause::KeyUnknown => Link::AuthFailed,
            Cause::KeyChanged | Cause::KeyRevoked => Link::HostkeyChanged,
            _ => Link::Backoff,
        };
        let key = error.key_shown.as_deref();
        let ours = match (error.cause, key) {
            (Cause::KeyUnknown, Some(key)) => Some(format!(
                "compare the fingerprint with the host's own, then: outlast host trust {name} --fingerprint {key}"
            )),
            (Cause::KeyChanged, Some(key)) => Some(format!(
                "only if you know why it changed: outlast host trust {name} --fingerprint {key}"
            )),
            (Cause::AuthRejected, _) => Some(format!("outlast host check {name}")),
            _ => None,
        };
        // Where nothing else is known to help, a look at each step does.
        let hint = match (error.cause, error.hint) {
            (Cause::KeyUnknown | Cause::KeyChanged, theirs) => ours.or(theirs),
            (_, theirs) => theirs.or(ours),
        };
        // The transport does not know what the host is called here.
        let hint = hint.map(|hint| hint.replace("NAME", name));
        Self {
            link,
            reason: error.cause.as_str(),
            message: error.message,
            hint: hint.or_else(|| (name != LOCAL).then(|| format!("outlast host check {name}"))),
            key_shown: error.key_shown,
            keys_known: error.keys_known,
        }
    }

    /// Whether the host refused the credentials, so that others may do.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.reason == Cause::AuthRejected.as_str()
    }

    /// Another machine than before answers under the name.
    #[must_use]
    pub fn other_machine(name: &str) -> Self {
        Self {
            link: Link::HostkeyChanged,
            reason: "other_machine",
            message: format!("another machine than before answers as {name}: its machine id has changed"),
            hint: Some(format!(
                "outlast host remove {name}, then add it again; what outlast knows of the old machine goes with it"
            )),
            key_shown: None,
            keys_known: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_changed_names_the_command_that_trusts_it() {
        let mut error = ConnectError::new(Cause::KeyChanged, "the key changed");
        error.key_shown = Some("SHA256:x".to_owned());
        let trouble = Trouble::connecting("build1", error);
        assert_eq!(trouble.link, Link::HostkeyChanged);
        let hint = trouble.hint.unwrap();
        assert!(
            hint.ends_with("outlast host trust build1 --fingerprint SHA256:x"),
            "{hint}"
        );
    }

    #[test]
    fn only_what_a_person_must_mend_is_stuck() {
        for (cause, stuck) in [
            (Cause::Refused, false),
            (Cause::TimedOut, false),
            (Cause::HelperFailed, false),
            (Cause::AuthRejected, true),
            (Cause::KeyUnknown, true),
            (Cause::KeyRevoked, true),
        ] {
            let trouble = Trouble::connecting("h", ConnectError::new(cause, "x"));
            assert_eq!(trouble.link.is_stuck(), stuck, "{cause:?}");
            assert_eq!(trouble.link.is_stuck(), !cause.may_heal(), "{cause:?}");
        }
    }
}
