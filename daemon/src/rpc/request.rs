//! What requests have in common: ids that make them happen once, names, durations, programs.

use std::collections::{BTreeMap, HashMap};

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{admission, name::Name};
use outlast_store::Request;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::convert;
use crate::{hosts::LOCAL, secret::Secret, specs};

/// Longest request id, bytes: a UUID has 36, and other clients may have their own taste.
const ID_MAX: usize = 128;

/// The request as something that is to happen once, if it has an id. `content` is the request without its id and its
/// maps, and `maps` are those: they are encoded in no fixed order, so they are hashed in a sorted one. The hash is keyed,
/// because a request may carry what nobody is to guess from the database.
///
/// # Errors
/// When the id is empty or too long.
pub fn once<M: Message>(
    secret: &Secret,
    verb: &str,
    id: Option<String>,
    content: &M,
    maps: &[&HashMap<String, String>],
) -> Result<Option<Request>, Error> {
    let Some(id) = id else {
        return Ok(None);
    };
    if id.is_empty() || id.len() > ID_MAX {
        let message = format!("a request id has 1 to {ID_MAX} bytes");
        return Err(Error::new(ErrorKind::Usage, message).with_hint("use a random UUID"));
    }
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With the length before it, no two lists of parts run into the same bytes.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(secret.bytes());
    part(verb.as_bytes());
    part(&content.encode_to_vec());
    for map in maps {
        part(&(map.len() as u64).to_le_bytes());
        for (key, value) in map.iter().collect::<BTreeMap<_, _>>() {
            part(key.as_bytes());
            part(value.as_bytes());
        }
    }
    let fingerprint = hash.finalize().into();
    Ok(Some(Request { id, fingerprint }))
}

/// A name that a user gives. `before`, `behind`: what is typed around it.
///
/// # Errors
/// When it breaks the rule, which is the message; the hint has a name that does not.
pub fn name(text: &str, before: &str, behind: &str) -> Result<Name, Error> {
    text.parse::<Name>().map_err(|rule| {
        let near = Name::near(text);
        let near = near.as_ref().map_or("NAME", Name::as_str);
        Error::new(ErrorKind::Usage, rule.to_string()).with_hint(format!("{before} {near}{behind}"))
    })
}

/// A duration in milliseconds, rounded up.
///
/// # Errors
/// When it is negative, malformed or beyond what can be counted.
pub fn millis(what: &str, duration: prost_types::Duration) -> Result<u64, Error> {
    let ms = convert::millis(duration).filter(|ms| *ms <= admission::DURATION_MAX_MS);
    ms.ok_or_else(|| {
        let message = format!("the {what} must be between 0 and 10 years");
        Error::new(ErrorKind::Usage, message)
    })
}

/// What is to run, with its whole environment.
#[derive(Debug)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// The whole environment; on other hosts than `local` only what is set on top of theirs.
    pub env: BTreeMap<String, String>,
}

impl Program {
    /// Puts a program together. An empty directory counts as none.
    #[must_use]
    pub fn new(
        command: Vec<String>,
        cwd: Option<String>,
        host: &str,
        base_env: HashMap<String, String>,
        env: HashMap<String, String>,
    ) -> Self {
        let env = if host == LOCAL {
            specs::environment(base_env, env)
        } else {
            env.into_iter().collect()
        };
        Self {
            command,
            cwd: cwd.filter(|cwd| !cwd.is_empty()),
            env,
        }
    }

    /// As admission wants to see it.
    #[must_use]
    pub fn view(&self) -> admission::Program<'_> {
        admission::Program {
            command: &self.command,
            cwd: self.cwd.as_deref(),
            env: self
                .env
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_client::v1::{CancelJobRequest, CreateJobRequest};

    fn map(count: usize) -> HashMap<String, String> {
        (0..count).map(|n| (format!("K{n}"), n.to_string())).collect()
    }

    fn key() -> Secret {
        Secret::fixed(1)
    }

    fn create(command: &[&str], env: &HashMap<String, String>) -> [u8; 32] {
        create_by(&key(), command, env)
    }

    fn create_by(key: &Secret, command: &[&str], env: &HashMap<String, String>) -> [u8; 32] {
        let request = CreateJobRequest {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..CreateJobRequest::default()
        };
        let once = once(key, "CreateJob", Some("r".to_owned()), &request, &[env]).unwrap();
        once.unwrap().fingerprint
    }

    #[test]
    fn equal_requests_have_one_fingerprint_and_others_another() {
        let first = create(&["a", "b"], &map(50));
        assert_eq!(first, create(&["a", "b"], &map(50)));
        assert_ne!(first, create(&["b", "a"], &map(50)));
        assert_ne!(first, create(&["a", "b"], &map(51)));
        assert_ne!(create(&[], &map(0)), {
            let request = CancelJobRequest::default();
            let once = once(&key(), "CancelJob", Some("r".to_owned()), &request, &[&map(0)]).unwrap();
            once.unwrap().fingerprint
        });
    }

    #[test]
    fn without_the_secret_nothing_can_be_tried_out() {
        let other = create_by(&Secret::fixed(2), &["a"], &map(1));
        assert_ne!(create(&["a"], &map(1)), other);
    }

    #[test]
    fn an_id_must_be_one() {
        for bad in [String::new(), "x".repeat(ID_MAX + 1)] {
            let refused = once(&key(), "CancelJob", Some(bad), &CancelJobRequest::default(), &[]);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Usage);
        }
        let none = once(&key(), "CancelJob", None, &CancelJobRequest::default(), &[]);
        assert_eq!(none.unwrap(), None);
    }
}
