//! Why `ssh` ended, from its exit code and what it said. Its messages are not translated.

use std::{ffi::OsStr, fs, process::ExitStatus};

use super::askpass::{Asked, KeyShown};
use crate::{
    ask::QuestionKind,
    command,
    error::{Cause, ConnectError},
    ssh,
};

/// The exit code of `ssh` for its own failures.
const FAILED: i32 = 255;

/// Words of `ssh`, each with what they mean. The first that is found counts.
const MEANINGS: [(&str, Cause); 22] = [
    ("Could not resolve hostname", Cause::NoAddress),
    ("Name or service not known", Cause::NoAddress),
    ("Permission denied (", Cause::AuthRejected),
    ("Too many authentication failures", Cause::AuthRejected),
    ("Bad configuration option", Cause::Misconfigured),
    ("Bad owner or permissions", Cause::Misconfigured),
    ("bad configuration options", Cause::Misconfigured),
    ("Unable to negotiate", Cause::Protocol),
    ("Bad packet length", Cause::Protocol),
    ("Protocol major versions differ", Cause::Protocol),
    ("Connection refused", Cause::Refused),
    ("timed out", Cause::TimedOut),
    ("not responding", Cause::TimedOut),
    ("No route to host", Cause::Unreachable),
    ("Network is unreachable", Cause::Unreachable),
    ("administratively prohibited", Cause::Unreachable),
    ("stdio forwarding failed", Cause::Unreachable),
    ("Connection reset", Cause::Cut),
    ("Connection closed", Cause::Cut),
    ("Broken pipe", Cause::Cut),
    ("closed by remote host", Cause::Cut),
    ("Connection aborted", Cause::Cut),
];

/// The reason of its end. A connection that stood was accepted in every way, so that its end is none that only a person
/// could mend, whatever start files and programs on the host wrote that looks like it.
pub(super) fn explain(status: ExitStatus, said: &str, asked: &Asked) -> ConnectError {
    let reason = judge(status, said, asked);
    if asked.has_stood() && !reason.cause.may_heal() {
        return ConnectError::new(Cause::Cut, "the connection to the host broke");
    }
    reason
}

fn judge(status: ExitStatus, said: &str, asked: &Asked) -> ConnectError {
    if said.contains("REVOKED HOST KEY") || said.contains("marked as revoked") {
        let mut error = ConnectError::new(
            Cause::KeyRevoked,
            "the host shows a key that is marked as revoked",
        )
        .with_hint("this may be somebody else's machine; ask whoever runs it");
        error.key_shown = fingerprint(said).or_else(|| asked.key_shown().map(|key| key.fingerprint));
        return error;
    }
    if said.contains("HOST IDENTIFICATION HAS CHANGED") {
        let mut error = ConnectError::new(
            Cause::KeyChanged,
            "the host shows another key than the one that is known",
        )
        .with_hint(
            "compare the fingerprint with the host's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        );
        error.key_shown = fingerprint(said);
        error.keys_known = offending(said).into_iter().collect();
        return error;
    }
    if said.contains("Host key verification failed") || said.contains("strict checking") {
        let asked = asked.key_shown();
        if let Some(KeyShown {
            fingerprint,
            on_the_way: Some(whose),
        }) = asked
        {
            let text = format!(
                "the key of {whose}, which is on the way to the host, is not known, and nobody took it: {fingerprint}"
            );
            return ConnectError::new(Cause::KeyUnknown, text).with_hint(format!(
                "connect to {whose} once by ssh, or add the host with --accept-new"
            ));
        }
        let mut error = ConnectError::new(
            Cause::KeyUnknown,
            "the host's key is not known, and nobody took it",
        );
        error.key_shown = asked.map(|key| key.fingerprint).or_else(|| fingerprint(said));
        return error;
    }
    match asked.unanswered() {
        Some(QuestionKind::Password) => {
            return ConnectError::new(
                Cause::AuthRejected,
                "the host wants a password, and nobody gave one",
            )
            .with_hint("a key without a question is better: ssh-copy-id");
        }
        Some(QuestionKind::Other) => {
            let text = "the host asks something to log in, and nobody answered";
            return ConnectError::new(Cause::AuthRejected, text);
        }
        _ => {}
    }
    if status.code().is_none() {
        return ConnectError::new(Cause::Cut, format!("ssh was ended from outside ({status})"));
    }
    if status.code() != Some(FAILED) {
        return command::ended(OsStr::new("ssh"), status);
    }
    let last = last_words(said);
    let Some((_, cause)) = MEANINGS.iter().find(|(words, _)| said.contains(words)) else {
        let text = if last.is_empty() {
            "ssh ended without a word"
        } else {
            last
        };
        return ConnectError::new(Cause::Cut, text);
    };
    let error = ConnectError::new(*cause, last);
    match (cause, asked.unanswered()) {
        (Cause::AuthRejected, Some(QuestionKind::Passphrase { file })) => error.with_hint(format!(
            "the passphrase of {} was asked for, and nobody gave it",
            file.display()
        )),
        (Cause::AuthRejected, _) => {
            error.with_hint("is your key in authorized_keys there, and the user right?")
        }
        _ => error,
    }
}

/// The last line that says something.
fn last_words(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim);
    lines.rfind(|line| !line.is_empty()).unwrap_or_default()
}

/// The first `SHA256:…` in a text.
pub(super) fn fingerprint(text: &str) -> Option<String> {
    let from = text.find("SHA256:")?;
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || "+/:".contains(c));
    let rest = text.get(from..)?;
    Some(rest.split(is_end).next().unwrap_or(rest).to_owned())
}

/// The fingerprint of the key that is known, from the line that `ssh` names: `Offending ED25519 key in FILE:LINE`.
fn offending(said: &str) -> Option<String> {
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with("Offending "))?;
    let (_, place) = line.trim().split_once(" key in ")?;
    let (file, number) = place.rsplit_once(':')?;
    let number: usize = number.parse().ok()?;
    let text = fs::read_to_string(file).ok()?;
    let known = text.lines().nth(number.checked_sub(1)?)?;
    // A mark may stand before the names, and the key after them.
    let known = known.trim_start();
    let names = if known.starts_with('@') { 2 } else { 1 };
    let mut key = known;
    for _ in 0..names {
        key = key.split_once([' ', '\t'])?.1.trim_start();
    }
    Some(ssh::fingerprint(&ssh::parse(key)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn cause(said: &str) -> Cause {
        explain(ExitStatus::from_raw(255 << 8), said, &Asked::default()).cause
    }

    #[test]
    fn words_of_ssh_have_their_meaning() {
        let meanings = [
            (
                "ssh: Could not resolve hostname nope: Name or service not known\r\n",
                Cause::NoAddress,
            ),
            (
                "ssh: connect to host 127.0.0.1 port 1: Connection refused\r\n",
                Cause::Refused,
            ),
            (
                "ssh: connect to host 10.0.0.1 port 22: Connection timed out\r\n",
                Cause::TimedOut,
            ),
            ("Timeout, server 10.0.0.1 not responding.\r\n", Cause::TimedOut),
            (
                "ssh: connect to host 10.0.0.1 port 22: No route to host\r\n",
                Cause::Unreachable,
            ),
            ("me@h: Permission denied (publickey).\r\n", Cause::AuthRejected),
            ("Connection closed by 127.0.0.1 port 22\r\n", Cause::Cut),
            (
                "kex_exchange_identification: read: Connection reset by peer\r\n",
                Cause::Cut,
            ),
            (
                "/h/.ssh/config: line 3: Bad configuration option: foo\r\n",
                Cause::Misconfigured,
            ),
            (
                "Unable to negotiate with 127.0.0.1 port 22: no matching cipher found\r\n",
                Cause::Protocol,
            ),
            ("", Cause::Cut),
        ];
        for (said, wanted) in meanings {
            assert_eq!(cause(said), wanted, "{said}");
        }
    }

    #[test]
    fn what_stood_does_not_end_for_want_of_a_person() {
        let asked = Asked::default();
        asked.stands();
        for said in [
            "Host key verification failed.",
            "REVOKED HOST KEY",
            "me@h: Permission denied (publickey).",
        ] {
            let error = explain(ExitStatus::from_raw(255 << 8), said, &asked);
            assert_eq!(error.cause, Cause::Cut, "{said}");
            assert_eq!(error.key_shown, None);
        }
    }

    #[test]
    fn the_end_of_the_command_is_not_the_end_of_ssh() {
        let error = explain(
            ExitStatus::from_raw(1 << 8),
            "rbash: exec: restricted",
            &Asked::default(),
        );
        assert_eq!(error.cause, Cause::HelperFailed);
    }

    #[test]
    fn a_changed_key_has_two_fingerprints() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        fs::write(&file, "# a\nh ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA x\n").unwrap();
        let said = format!(
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint for the ED25519 key sent by the remote \
             host is\nSHA256:shown.\nPlease contact your system administrator.\nOffending ED25519 key in {}:2\n\
             Host key verification failed.\n",
            file.display()
        );
        let error = explain(ExitStatus::from_raw(255 << 8), &said, &Asked::default());
        assert_eq!(
            (error.cause, error.key_shown.as_deref()),
            (Cause::KeyChanged, Some("SHA256:shown"))
        );
        assert_eq!(error.keys_known.len(), 1);
        assert!(error.keys_known[0].starts_with("SHA256:"));
    }
}
