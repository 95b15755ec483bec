//! The line from the engine to the helper: bytes are counted, and it stalls where a test wants that.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper_util::rt::TokioIo;
use outlast_client::helper_v1::helper_service_client::HelperServiceClient;
use outlast_helper::{
    serve::{self, CONNECTION_WINDOW, MESSAGE_MAX, Traffic},
    service::Helper,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    sync::watch,
};
use tonic::transport::{Channel, Endpoint};

/// Bytes that are under way in each direction, of each half of the line.
const PIPE: usize = 64 << 10;

/// All connections of one bed.
pub struct Line {
    /// Bytes that went to the helper.
    carried: AtomicU64,
    /// Nothing goes there once so many bytes did.
    last: watch::Sender<u64>,
}

impl Line {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            carried: AtomicU64::new(0),
            last: watch::Sender::new(u64::MAX),
        })
    }

    /// Bytes that went to the helper so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Lets so many more bytes through to the helper, rounded up to what is read at once, and then none.
    pub fn stall_after(&self, bytes: u64) {
        self.last.send_replace(self.carried() + bytes);
    }

    /// Lets everything through.
    pub fn heal(&self) {
        self.last.send_replace(u64::MAX);
    }

    /// A client of a helper at its end.
    pub fn client(self: &Arc<Self>, helper: &Arc<Helper>) -> HelperServiceClient<Channel> {
        let (line, helper) = (Arc::clone(self), Arc::clone(helper));
        let connector = tower::service_fn(move |_| {
            let far = line.connect(Arc::clone(&helper));
            async move { Ok::<_, io::Error>(TokioIo::new(far)) }
        });
        let traffic = Traffic::InProcess;
        let endpoint = Endpoint::from_static("http://helper")
            .initial_stream_window_size(traffic.stream_window())
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(traffic.frame());
        HelperServiceClient::new(endpoint.connect_with_connector_lazy(connector))
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }

    fn connect(self: &Arc<Self>, helper: Arc<Helper>) -> DuplexStream {
        let (ours, near) = tokio::io::duplex(PIPE);
        let (far, theirs) = tokio::io::duplex(PIPE);
        let (near_read, mut near_write) = tokio::io::split(near);
        let (mut far_read, far_write) = tokio::io::split(far);
        let line = Arc::clone(self);
        tokio::spawn(async move { line.carry(near_read, far_write).await });
        tokio::spawn(async move {
            let _ended = tokio::io::copy(&mut far_read, &mut near_write).await;
            let _ended = near_write.shutdown().await;
        });
        tokio::spawn(serve::connection(helper, theirs, Traffic::InProcess));
        ours
    }

    async fn carry(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut last = self.last.subscribe();
        let mut bytes = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if last.wait_for(|last| self.carried() < *last).await.is_err()
                || to.write_all(&bytes[..count]).await.is_err()
            {
                break;
            }
            self.carried.fetch_add(count as u64, Ordering::Relaxed);
        }
        let _ended = to.shutdown().await;
    }
}
