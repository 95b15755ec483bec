//! How an engine reaches its host.

use outlast_client::helper_v1::helper_service_client::HelperServiceClient;
use tonic::{Status, transport::Channel};

/// How much is to go over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// What is saved in an editor.
    Little,
    /// What would delay what is short.
    Much,
    /// What is worth a connection that takes longer to be made, where it carries faster then.
    Huge,
}

/// The way to a host, which may break and come back.
#[tonic::async_trait]
pub trait Way: Send + Sync + 'static {
    /// Waits until the host can be called, and gives a client for what is little. None: never again.
    async fn connect(&self) -> Option<HelperServiceClient<Channel>>;

    /// A client for what is more than little, to a host that can be called. It may take as long as a connection takes.
    async fn carrier(&self, load: Load) -> HelperServiceClient<Channel>;

    /// Whether what is huge may go by another connection than what is much.
    fn may_haul(&self) -> bool;

    /// Whether bytes go through a network, so that fewer of them are worth some work.
    fn is_far(&self) -> bool;

    /// Ids of all syncs there are, of any host. What others left on this one does not count any more.
    async fn all(&self) -> Vec<String>;

    /// Whether a call failed because the way broke, and not because it was refused.
    fn is_cut_off(&self, status: &Status) -> bool;

    /// After a call that failed because the way broke: has the connection prove itself, so that whoever tries again does
    /// not spin.
    async fn doubt(&self);
}
