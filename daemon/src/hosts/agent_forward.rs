//! The user's ssh-agent, for programs on a host: whoever connects to the helper's socket there is carried to the agent
//! here. Only where the user's ssh configuration wants that (`ForwardAgent`).
//!
//! The socket's path on the host stays the same, so what was started before a connection broke finds the agent again when
//! it is back.

use std::sync::Arc;

use outlast_client::helper_v1::{ListenAgentRequest, dial_to::To, listen_agent_response::Event};
use outlast_transport::HelperClient;
use tokio::{net::UnixStream, sync::Semaphore, task::JoinSet};

use super::{agent::Agent, dial::dial};

/// Connections to the agent at once. Signing takes milliseconds; more than this is a fault at the other end.
const CONNECTIONS: usize = 64;

/// Serves until the connection breaks.
pub(super) async fn serve(host: String, mut client: HelperClient, agent: Agent) {
    let mut accepted = match client.listen_agent(ListenAgentRequest {}).await {
        Ok(accepted) => accepted.into_inner(),
        Err(status) => {
            tracing::warn!(host, error = status.message(), "the ssh-agent is not forwarded");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    // An error or the end means that the connection broke; the next one serves anew.
    while let Ok(Some(message)) = accepted.message().await {
        let Some(Event::Accepted(number)) = message.event else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            // It is not taken up, and the helper closes it.
            continue;
        };
        let (client, socket, host) = (client.clone(), agent.socket(), host.clone());
        connections.spawn(async move {
            let _permit = permit;
            let Some(socket) = socket else {
                tracing::info!(host, "a program there wants the ssh-agent, and there is none");
                return;
            };
            match UnixStream::connect(&socket).await {
                Ok(near) => {
                    if let Err(error) = dial(client, To::Accepted(number), near).await {
                        tracing::debug!(host, error = %error.message, "carrying the ssh-agent");
                    }
                }
                Err(error) => {
                    tracing::info!(host, socket = %socket.display(), %error, "the ssh-agent is not there");
                }
            }
        });
    }
}
