//! What streams of both directions have in common: a client opens them with what it wants, and they end with one last word.

use std::time::Duration;

use outlast_client::v1::{Error, ErrorKind};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::shutdown::Shutdown;

/// How long the client may take to say what it wants: it does so with its call, and only the line can be slow.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Does the work of a stream and sends what it comes to as the last message. The end of the daemon is the last word too; a
/// client that goes away hears none.
pub async fn to_the_end<T>(
    shutdown: &Shutdown,
    answers: &mpsc::Sender<Result<T, Status>>,
    work: impl Future<Output = Result<T, Status>>,
) {
    let last = tokio::select! {
        () = answers.closed() => return,
        status = shutdown.ended() => Err(status),
        last = work => last,
    };
    // The client may have gone.
    let _gone = answers.send(last).await;
}

/// What a client wants: its first message, of which `open` takes what opens the stream.
///
/// # Errors
/// When it says nothing in time, or begins otherwise; `rule` says how it has to.
pub async fn opening<M, O>(
    input: &mut Streaming<M>,
    rule: &str,
    open: impl FnOnce(M) -> Option<O>,
) -> Result<O, Status> {
    let first = match tokio::time::timeout(OPEN_DEADLINE, input.message()).await {
        Ok(first) => first?,
        Err(_late) => None,
    };
    first
        .and_then(open)
        .ok_or_else(|| Error::new(ErrorKind::Usage, rule).into_status())
}
