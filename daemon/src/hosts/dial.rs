//! Carrying bytes between something on this machine and something a host can reach.

use std::time::Duration;

use outlast_client::{
    helper_v1::{DialRequest, DialTo, dial_request::Event as Down, dial_response::Event as Up, dial_to::To},
    v1::{Error, ErrorKind},
};
use outlast_transport::HelperClient;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::rpc::status::failure;

/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// Chunks under way to the host on one connection.
const QUEUE: usize = 4;

/// How long the host may take to connect.
const DIAL_WITHIN: Duration = Duration::from_secs(15);

/// Connects to something on the host, and carries bytes both ways until both directions have ended or one broke.
///
/// # Errors
/// When the host cannot connect, or the way to it breaks.
pub(super) async fn dial(
    mut client: HelperClient,
    to: To,
    near: impl AsyncRead + AsyncWrite,
) -> Result<(), Error> {
    let (to_host, requests) = mpsc::channel(QUEUE);
    let down = |event| DialRequest { event: Some(event) };
    to_host
        .try_send(down(Down::To(DialTo { to: Some(to) })))
        .map_err(|_full| Error::new(ErrorKind::Failed, "a new queue is full"))?;
    let dialled = tokio::time::timeout(DIAL_WITHIN, client.dial(ReceiverStream::new(requests))).await;
    let mut reports = match dialled {
        Ok(dialled) => dialled.map_err(failure)?.into_inner(),
        Err(_late) => {
            return Err(Error::new(
                ErrorKind::Unreachable,
                "the host did not connect in time",
            ));
        }
    };
    let (mut read, mut write) = split(near);
    let up = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = read.read(&mut buffer).await.unwrap_or(0);
            let event = match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => Down::Data(bytes::Bytes::copy_from_slice(bytes)),
                None => Down::Eof(true),
            };
            let last = matches!(event, Down::Eof(_));
            if to_host.send(down(event)).await.is_err() || last {
                // The stream itself stays open, for it is what the other direction comes through.
                std::future::pending::<()>().await;
            }
        }
    };
    let back = async {
        while let Some(report) = reports.message().await.map_err(failure)? {
            match report.event {
                Some(Up::Data(bytes)) if write.write_all(&bytes).await.is_err() => break,
                Some(Up::Eof(_)) if write.shutdown().await.is_err() => break,
                Some(_) | None => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        () = up => Ok(()),
        ended = back => ended,
    }
}
