//! The public protocol: handlers of a few lines, one file a noun.
//!
//! Only this module sees both the messages of the protocol and the model. Handlers own nothing: they look up a
//! handle or read the store, and every error leaves through [`status`].

pub mod convert;
pub mod daemon;
pub mod event;
pub mod handshake;
pub mod host;
pub mod job;
pub mod notify;
pub mod provider;
pub mod relay;
pub mod request;
pub mod session;
pub mod status;
pub mod sync;
pub mod template;

use std::sync::Arc;

use outlast_client::v1::{
    daemon_service_server::DaemonServiceServer, event_service_server::EventServiceServer,
    host_service_server::HostServiceServer, job_service_server::JobServiceServer,
    notify_service_server::NotifyServiceServer, provider_service_server::ProviderServiceServer,
    session_service_server::SessionServiceServer, sync_service_server::SyncServiceServer,
    template_service_server::TemplateServiceServer,
};

use crate::{
    app::App,
    serve::{ReflectionError, Services},
    work::Work,
};

/// Every service of the daemon; a new noun is added here.
///
/// # Errors
/// When the descriptors that were built in cannot be read.
pub async fn services(app: &Arc<App>, work: &Work) -> Result<Services, ReflectionError> {
    let services = Services::new()?
        .add(DaemonServiceServer::new(daemon::Daemons::new(
            Arc::clone(app),
            work.clone(),
        )))
        .await
        .add(EventServiceServer::new(event::Events::new(Arc::clone(app))))
        .await
        .add(HostServiceServer::new(host::Hosts::new(
            Arc::clone(app),
            work.clone(),
        )))
        .await
        .add(JobServiceServer::new(job::Jobs::new(
            Arc::clone(app),
            work.jobs.clone(),
        )))
        .await
        .add(NotifyServiceServer::new(notify::Notify::new(Arc::clone(app))))
        .await
        .add(ProviderServiceServer::new(provider::Providers::new(Arc::clone(
            app,
        ))))
        .await
        .add(SessionServiceServer::new(session::Sessions::new(
            Arc::clone(app),
            work.sessions.clone(),
        )))
        .await
        .add(SyncServiceServer::new(sync::Syncs::new(
            Arc::clone(app),
            work.syncs.clone(),
        )))
        .await
        .add(TemplateServiceServer::new(template::Templates::new(Arc::clone(
            app,
        ))))
        .await;
    Ok(services)
}
