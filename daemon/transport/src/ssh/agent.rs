//! The ssh-agent: which keys it has, and a relay to it that the library can be pointed at. The library waits for an
//! agent without end; the relay gives up on one that does not answer, and ends with whoever waits for the connection.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::{
    config::{self, Settings},
    key,
};
use crate::place::Place;

/// How long an agent may take to list its keys.
const LIST_WITHIN: Duration = Duration::from_secs(3);

/// How long it may take to sign: it may ask a person first.
const SIGN_WITHIN: Duration = Duration::from_secs(60);

/// More than a message of an agent's has, bytes.
const MESSAGE_MAX: usize = 256 << 10;

/// The request for its keys, and the number of the answer.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// A key of the agent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentKey {
    pub(super) public: Vec<u8>,
    pub(super) comment: String,
}

/// What was found of the agent that counts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(super) relay: Option<Relay>,
    /// Why there is none though there should be.
    pub(super) trouble: Option<String>,
}

impl Found {
    /// What the agent has.
    pub(super) fn keys(&self) -> &[AgentKey] {
        self.relay.as_ref().map_or(&[], |relay| relay.keys.as_slice())
    }
}

/// Looks for the agent that counts: `given` is that of whoever connects.
pub(super) async fn find(settings: &Settings, given: Option<&Path>) -> Found {
    let path: &Path = match (&settings.agent, given) {
        (config::Agent::At(path), _) => path,
        (config::Agent::Given, Some(path)) => path,
        (config::Agent::Given, None) | (config::Agent::None, _) => return Found::default(),
    };
    if !settings.pubkey {
        return Found::default();
    }
    let (relay, trouble) = match Relay::to(path).await {
        Ok(Some(relay)) => (Some(relay), None),
        Ok(None) => (None, Some(format!("the agent at {} has no keys", path.display()))),
        Err(error) => (None, Some(format!("the agent at {}: {error}", path.display()))),
    };
    Found { relay, trouble }
}

/// The relay. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// What the agent has.
    pub(super) keys: Vec<AgentKey>,
    /// Where the library finds it.
    pub(super) path: PathBuf,
    task: JoinHandle<()>,
    _place: Place,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Asks an agent for its keys. None: it has none.
    pub(super) async fn to(agent: &Path) -> io::Result<Option<Self>> {
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let keys = timeout(LIST_WITHIN, list(agent)).await.map_err(late)??;
        if keys.is_empty() {
            return Ok(None);
        }
        let place = Place::new("agent")?;
        let path = place.join("agent");
        let listener = UnixListener::bind(&path)?;
        let agent = agent.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((library, _)) = listener.accept().await {
                if let Err(error) = relay(library, &agent).await {
                    tracing::debug!("the agent at {}: {error}", agent.display());
                }
            }
        });
        Ok(Some(Self {
            keys,
            path,
            task,
            _place: place,
        }))
    }
}

async fn list(agent: &Path) -> io::Result<Vec<AgentKey>> {
    let mut agent = UnixStream::connect(agent).await?;
    send(&mut agent, &[REQUEST_IDENTITIES]).await?;
    let answer = message(&mut agent).await?.unwrap_or_default();
    keys(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak as an agent does"))
}

/// Reads the answer with the keys.
fn keys(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let (kind, rest) = answer.split_first()?;
    let (_count, mut rest) = rest
        .split_first_chunk::<4>()
        .filter(|_| *kind == IDENTITIES_ANSWER)?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (public, after) = key::field(rest)?;
        let (comment, after) = key::field(after)?;
        rest = after;
        keys.push(AgentKey {
            public: public.to_vec(),
            comment: String::from_utf8_lossy(comment).into_owned(),
        });
    }
    Some(keys)
}

/// Passes requests on and answers back, until the library is done.
async fn relay(mut library: UnixStream, agent: &Path) -> io::Result<()> {
    let mut agent = UnixStream::connect(agent).await?;
    while let Some(request) = message(&mut library).await? {
        send(&mut agent, &request).await?;
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let answer = timeout(SIGN_WITHIN, message(&mut agent)).await.map_err(late)??;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        send(&mut library, &answer).await?;
    }
    Ok(())
}

/// The next message. None: there is no more.
async fn message(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message that is too long",
        ));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn send(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn nothing_upsets_it(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = keys(&bytes);
            let _ = keys(&[&[IDENTITIES_ANSWER, 0, 0, 0, 1], tail.as_slice()].concat());
        }

        #[test]
        fn keys_are_read_as_they_were_written(given in vec((vec(any::<u8>(), 0..40), "\\PC{0,20}"), 0..5)) {
            let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 0];
            for (public, comment) in &given {
                for field in [public.as_slice(), comment.as_bytes()] {
                    answer.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
                    answer.extend(field);
                }
            }
            let read: Vec<_> = keys(&answer).unwrap().into_iter().map(|key| (key.public, key.comment)).collect();
            prop_assert_eq!(read, given);
        }
    }

    #[tokio::test]
    async fn what_is_no_agent_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Relay::to(&dir.path().join("none")).await.is_err());
        let path = dir.path().join("other");
        let listener = UnixListener::bind(&path).unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        });
        assert!(Relay::to(&path).await.is_err());
        other.await.unwrap();
    }
}
