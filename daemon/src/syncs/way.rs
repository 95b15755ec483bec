//! How the engine of a sync reaches its host.

use std::sync::Arc;

use outlast_sync::engine::Way;
use outlast_transport::HelperClient;
use tonic::Status;

use crate::hosts::Host;

/// The way to a host by the connection for what is much.
pub(super) struct ByHost(pub(super) Arc<Host>);

#[tonic::async_trait]
impl Way for ByHost {
    async fn connect(&self) -> Option<HelperClient> {
        if !self.0.up().await {
            return None;
        }
        Some(self.0.bulk().await)
    }

    fn is_far(&self) -> bool {
        !self.0.is_local()
    }

    fn is_cut_off(&self, status: &Status) -> bool {
        self.0.is_cut_off(status)
    }

    async fn doubt(&self) {
        self.0.doubt().await;
    }
}
