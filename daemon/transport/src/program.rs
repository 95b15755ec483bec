//! A helper behind a program's standard input and output: `outlast-helper serve` itself, or whatever reaches one.

use std::{collections::VecDeque, io, process::Stdio, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, join},
    process::{Child, ChildStderr, Command},
    sync::Mutex,
    time::timeout,
};
use tower::service_fn;
use uuid::Uuid;

use crate::{HelperClient, client, endpoint, marker::Marker};

/// How long a helper may take until it says that it is there. Slow start files on a slow host take seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How much may be printed before the helper says that it is there.
const NOISE_MAX: usize = 1 << 20;

/// How much of what the program wrote to standard error is kept for an error message.
const STDERR_KEPT: usize = 4096;

/// How long to wait for the rest of standard error once standard output has ended.
const STDERR_WITHIN: Duration = Duration::from_secs(1);

/// Why a program did not become a connection to a helper.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// It could not be started.
    #[error("starting {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before the helper spoke.
    #[error("{program} ended before the helper answered{}", its_words(.said))]
    Ended {
        /// The program.
        program: String,
        /// The end of what it printed.
        said: String,
    },
    /// Reading from it failed.
    #[error("reading from {program}: {source}")]
    Read {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It runs, but no helper spoke in time.
    #[error("{program} runs, but no helper answered within {} s{}", .within.as_secs(), its_words(.said))]
    Silent {
        /// The program.
        program: String,
        /// How long was waited.
        within: Duration,
        /// The end of what it printed.
        said: String,
    },
    /// It prints without end, but not what a helper says.
    #[error("{program} printed {NOISE_MAX} bytes and no helper answered{}", its_words(.said))]
    Noise {
        /// The program.
        program: String,
        /// The end of what it printed.
        said: String,
    },
}

fn its_words(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; it said: {text}")
    }
}

/// Starts `command`, to which `--nonce <nonce>` is added, waits until a helper answers on its standard output, and
/// connects to it. Its standard error goes to the log. When the returned child is dropped or the program ends, calls
/// fail with `Unavailable`.
///
/// # Errors
/// When it cannot be started, ends, stays silent, or says something else.
pub async fn program(command: &mut Command) -> Result<(HelperClient, Child), TransportError> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let nonce = Uuid::new_v4().simple().to_string();
    let mut child = command
        .arg("--nonce")
        .arg(&nonce)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| TransportError::Start {
            program: name.clone(),
            source,
        })?;
    let missing = |what| TransportError::Start {
        program: name.clone(),
        source: io::Error::other(what),
    };
    let stdin = child.stdin.take().ok_or_else(|| missing("no standard input"))?;
    let mut stdout = child.stdout.take().ok_or_else(|| missing("no standard output"))?;
    let stderr = child.stderr.take().ok_or_else(|| missing("no standard error"))?;

    let errors = Arc::new(Mutex::new(VecDeque::new()));
    let draining = tokio::spawn(drain(stderr, Arc::clone(&errors), name.clone()));
    let mut marker = Marker::new(&nonce);
    let waited = timeout(READY_WITHIN, ready(&mut stdout, &mut marker)).await;
    let rest = match waited {
        Ok(Ok(Some(rest))) => rest,
        Ok(Ok(None)) => {
            // Its last words explain it best, and they end when it does.
            let _ = timeout(STDERR_WITHIN, draining).await;
            let mut said = kept(&errors).await;
            if said.is_empty() {
                said = marker.tail();
            }
            return Err(if marker.noise() > NOISE_MAX {
                TransportError::Noise { program: name, said }
            } else {
                TransportError::Ended { program: name, said }
            });
        }
        Ok(Err(source)) => {
            return Err(TransportError::Read {
                program: name,
                source,
            });
        }
        Err(_elapsed) => {
            let mut said = kept(&errors).await;
            if said.is_empty() {
                said = marker.tail();
            }
            return Err(TransportError::Silent {
                program: name,
                within: READY_WITHIN,
                said,
            });
        }
    };

    let io = join(io::Cursor::new(rest).chain(stdout), stdin);
    let once = Arc::new(Mutex::new(Some(io)));
    let connector = service_fn(move |_| {
        let once = Arc::clone(&once);
        async move {
            let io = once.lock().await.take();
            let gone = || {
                io::Error::new(
                    io::ErrorKind::NotConnected,
                    "the program that reached the helper has ended",
                )
            };
            io.map(TokioIo::new).ok_or_else(gone)
        }
    });
    Ok((client(endpoint().connect_with_connector_lazy(connector)), child))
}

/// Reads until the marker. None when the program stopped talking, or talked too much.
async fn ready<R: AsyncRead + Unpin>(from: &mut R, marker: &mut Marker) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 16 << 10];
    while marker.noise() <= NOISE_MAX {
        let count = from.read(&mut buffer).await?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(rest) = marker.push(bytes) {
            return Ok(Some(rest));
        }
    }
    Ok(None)
}

/// Reads standard error to its end, keeps the end of it, and logs it.
async fn drain(mut from: ChildStderr, keep: Arc<Mutex<VecDeque<u8>>>, program: String) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = from.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        tracing::debug!(program, "{}", String::from_utf8_lossy(bytes).escape_debug());
        let mut keep = keep.lock().await;
        keep.extend(bytes);
        let over = keep.len().saturating_sub(STDERR_KEPT);
        keep.drain(..over);
    }
}

async fn kept(errors: &Mutex<VecDeque<u8>>) -> String {
    let mut errors = errors.lock().await;
    String::from_utf8_lossy(errors.make_contiguous())
        .trim()
        .to_owned()
}
