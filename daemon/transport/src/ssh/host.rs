//! Whether the host is the one it claims to be: its key against the known_hosts files, and what to do when nothing is
//! known. A key that changed or is revoked is refused, whatever anyone says.

use super::{
    ask::Asking,
    config::{Settings, Strict},
    key,
    known_hosts::{self, Known, Name, Verdict},
};
use crate::{
    ask::QuestionKind,
    connect::Trust,
    error::{Cause, ConnectError},
};

/// Decides about the key that the host showed. Answers what was found, for people.
pub(super) fn verify(
    settings: &Settings,
    known: &Known,
    shown: &[u8],
    trust: &Trust,
    asking: &Asking,
) -> Result<String, ConnectError> {
    let fingerprint = key::fingerprint(shown);
    let kind = key::short(shown);
    let name = Name::of(settings);
    let refused = |cause, message| {
        let mut error = ConnectError::new(cause, message);
        error.key_shown = Some(fingerprint.clone());
        error
    };
    match known.judge(shown) {
        Verdict::Known => Ok(format!("{kind} {fingerprint} is known")),
        Verdict::Revoked => Err(refused(
            Cause::KeyRevoked,
            format!("the key of {} is revoked: {kind} {fingerprint}", name.as_str()),
        )
        .with_hint("a known_hosts file has it as @revoked; ask who runs the host for its new key")),
        Verdict::Changed { known } => {
            let message = format!(
                "{} showed another key than the known one: {kind} {fingerprint}, known {}; someone may stand between",
                name.as_str(),
                known.join(", "),
            );
            let mut error = refused(Cause::KeyChanged, message);
            error.keys_known = known;
            Err(error)
        }
        Verdict::Unknown => {
            if !is_taken(settings, &name, kind, &fingerprint, trust, asking)
                .map_err(|message| refused(Cause::KeyUnknown, message))?
            {
                let message = format!("the key of {} is not known: {kind} {fingerprint}", name.as_str());
                return Err(refused(Cause::KeyUnknown, message).with_hint(format!(
                    "compare it with the host's own word and add the host with --accept-key {fingerprint}"
                )));
            }
            Ok(write_down(
                settings,
                &name,
                shown,
                &format!("{kind} {fingerprint}"),
            ))
        }
    }
}

/// Whether an unknown key is taken.
fn is_taken(
    settings: &Settings,
    name: &Name,
    kind: &str,
    fingerprint: &str,
    trust: &Trust,
    asking: &Asking,
) -> Result<bool, String> {
    match trust {
        Trust::AcceptNew => return Ok(true),
        Trust::AcceptKey(wanted) if same(wanted, fingerprint) => return Ok(true),
        Trust::AcceptKey(wanted) => {
            return Err(format!(
                "{} showed the key {kind} {fingerprint}, to be accepted was {wanted}",
                name.as_str()
            ));
        }
        Trust::Ask => {}
    }
    match settings.strict {
        Strict::AcceptNew => Ok(true),
        Strict::Yes => Ok(false),
        Strict::Ask => {
            let kind_of = QuestionKind::HostKey {
                fingerprint: fingerprint.to_owned(),
            };
            let text = format!(
                "The key of {} is not known: {kind} {fingerprint}. Trust it (yes, no or the fingerprint)?",
                name.as_str()
            );
            let answer = asking.ask(kind_of, text, true);
            Ok(answer.is_some_and(|answer| {
                let answer = answer.expose().trim();
                answer.eq_ignore_ascii_case("yes") || same(answer, fingerprint)
            }))
        }
    }
}

/// Whether two texts are one fingerprint; the padding that some programs print does not count.
pub(super) fn same(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.trim().trim_end_matches('=').to_owned();
    bare(one) == bare(other)
}

/// Writes a key that was taken into the user's file. Where that fails the connection goes on, as with ssh.
fn write_down(settings: &Settings, name: &Name, shown: &[u8], key: &str) -> String {
    let Some(file) = settings.user_known_hosts.first() else {
        return format!("{key} is taken, and written down nowhere: there is no UserKnownHostsFile");
    };
    match known_hosts::add(file, name, shown, settings.hash_known_hosts) {
        Ok(()) => format!("{key} is taken and written to {}", file.display()),
        Err(error) => {
            tracing::warn!("{} cannot be written: {error}", file.display());
            format!(
                "{key} is taken, but {} cannot be written: {error}",
                file.display()
            )
        }
    }
}
