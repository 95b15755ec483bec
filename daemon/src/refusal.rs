//! Refusals in the words of the protocol: a word that fits no thing or several, and what admission denies.

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{
    admission::{Denied, DeniedKind},
    id::Id,
    near::nearest,
};

/// Most candidates that are named when a word fits several things.
const CANDIDATES: usize = 5;

/// There is no such thing.
#[must_use]
pub fn not_found(noun: &str, text: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {noun} is called {text:?}"))
        .with_hint(format!("outlast {noun} list"))
        .about(text)
}

/// There is no such thing in the configuration.
#[must_use]
pub fn no_setting<'a>(noun: &str, name: &str, known: impl IntoIterator<Item = &'a String>) -> Error {
    let near = nearest(name, known.into_iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean {near}? What is there: outlast {noun} list"),
        None => {
            format!("outlast {noun} list; a change of the configuration counts after: outlast daemon restart")
        }
    };
    Error::new(ErrorKind::NotFound, format!("no {noun} is called {name:?}"))
        .with_hint(hint)
        .about(name)
}

/// A reference fits several things.
#[must_use]
pub fn ambiguous(noun: &str, text: &str, ids: &[Id]) -> Error {
    let shown: Vec<String> = ids.iter().take(CANDIDATES).map(ToString::to_string).collect();
    let more = if ids.len() > CANDIDATES { " and more" } else { "" };
    Error::new(
        ErrorKind::Conflict,
        format!(
            "{text:?} is the beginning of several {noun}s: {}{more}",
            shown.join(", ")
        ),
    )
    .with_hint(format!(
        "type more of the id, or the name; outlast {noun} list shows both"
    ))
    .about(text)
}

/// Admission denies it. `subject`: what the request is about, if it is about something that is there.
#[must_use]
pub fn denied(denied: &Denied, subject: Option<Id>) -> Error {
    let kind = match denied.kind() {
        DeniedKind::Usage => ErrorKind::Usage,
        DeniedKind::WrongState => ErrorKind::WrongState,
    };
    Error {
        hint: denied.hint(),
        subject: subject.map(|id| id.to_string()),
        ..Error::new(kind, denied.to_string())
    }
}
