//! `SyncService`: directories that are kept equal to one on a host.

use std::sync::Arc;

use outlast_client::v1::{
    CreateSyncRequest, CreateSyncResponse, DeleteSyncRequest, DeleteSyncResponse, Error, ErrorKind,
    FlushSyncRequest, FlushSyncResponse, GetSyncRequest, GetSyncResponse, ListSyncsRequest,
    ListSyncsResponse, PauseSyncRequest, PauseSyncResponse, PreviewSyncRequest, PreviewSyncResponse,
    ResetSyncRequest, ResetSyncResponse, ResumeSyncRequest, ResumeSyncResponse, SyncSpec,
    sync_service_server::SyncService,
};
use outlast_model::admission;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{convert, request, session::unless_ending, status::failure};
use crate::{
    app::App,
    refusal,
    syncs::{NewSync, Syncs as Registry, flush},
};

/// The handlers.
pub struct Syncs {
    app: Arc<App>,
    syncs: Registry,
}

impl Syncs {
    /// Over the daemon's parts and the registry of syncs.
    #[must_use]
    pub fn new(app: Arc<App>, syncs: Registry) -> Self {
        Self { app, syncs }
    }

    async fn preview(&self, request: PreviewSyncRequest) -> Result<PreviewSyncResponse, Error> {
        let preview = match request.sync {
            Some(sync) => {
                let sync = self.syncs.resolve(&sync).await?;
                self.syncs.preview_of(&sync).await?
            }
            None => self.syncs.preview(asked(request.spec)?).await?,
        };
        Ok(convert::sync_preview(&preview))
    }

    async fn create(&self, mut request: CreateSyncRequest) -> Result<CreateSyncResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "CreateSync", id, &request, &[])?;
        let name = request
            .name
            .as_deref()
            .map(|name| request::name(name, "outlast sync add", " SOURCE HOST:DIRECTORY"))
            .transpose()?;
        let new = NewSync {
            name,
            adopt: request.adopt,
            ..asked(request.spec)?
        };
        let sync = self.syncs.create(new, once).await?;
        Ok(CreateSyncResponse {
            sync: Some(self.syncs.message(&sync)),
        })
    }

    async fn pause(&self, mut request: PauseSyncRequest) -> Result<PauseSyncResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "PauseSync", id, &request, &[])?;
        let sync = self.syncs.resolve(&request.sync).await?;
        let sync = self.syncs.pause(&sync, once).await?;
        Ok(PauseSyncResponse {
            sync: Some(self.syncs.message(&sync)),
        })
    }

    async fn resume(&self, mut request: ResumeSyncRequest) -> Result<ResumeSyncResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "ResumeSync", id, &request, &[])?;
        let sync = self.syncs.resolve(&request.sync).await?;
        let sync = self.syncs.resume(&sync, request.confirm, once).await?;
        Ok(ResumeSyncResponse {
            sync: Some(self.syncs.message(&sync)),
        })
    }

    async fn reset(&self, mut request: ResetSyncRequest) -> Result<ResetSyncResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "ResetSync", id, &request, &[])?;
        let sync = self.syncs.resolve(&request.sync).await?;
        let sync = match (request.paths.is_empty(), request.adopt) {
            (true, adopt) => self.syncs.reset(&sync, adopt, once).await?,
            (false, true) => self.syncs.adopt(&sync, request.paths, once).await?,
            (false, false) => {
                let message = "only what is to be adopted can be named by paths";
                return Err(Error::new(ErrorKind::Usage, message)
                    .with_hint(format!("outlast sync reset {} --adopt=PATH", sync.name)));
            }
        };
        Ok(ResetSyncResponse {
            sync: Some(self.syncs.message(&sync)),
        })
    }

    async fn delete(&self, mut request: DeleteSyncRequest) -> Result<DeleteSyncResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "DeleteSync", id, &request, &[])?;
        let deleted = match self.syncs.resolve(&request.sync).await {
            Ok(sync) => {
                // What its engine shows goes with it.
                let shown = self.syncs.message(&sync);
                self.syncs.delete(&sync, once.clone()).await.map(|_row| shown)
            }
            Err(error) => Err(error),
        };
        match (deleted, once) {
            (Ok(sync), _) => Ok(DeleteSyncResponse { sync: Some(sync) }),
            // It went before this came, or while this was on its way. What it was is gone with it, but for its id.
            (Err(error), Some(once)) if error.kind() == ErrorKind::NotFound => {
                let recorded = self.app.store.find_request(&once).await.map_err(failure)?;
                let recorded = recorded.ok_or(error)?;
                Ok(DeleteSyncResponse {
                    sync: Some(outlast_client::v1::Sync {
                        id: recorded.subject,
                        name: request.sync,
                        ..outlast_client::v1::Sync::default()
                    }),
                })
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// What a client asks for, its words checked; without a name.
fn asked(spec: Option<SyncSpec>) -> Result<NewSync, Error> {
    let spec = spec.ok_or_else(|| Error::new(ErrorKind::Usage, "the request does not say what to sync"))?;
    let mode = outlast_client::v1::SyncMode::try_from(spec.mode).map_err(|unknown| {
        let message = format!("there is no sync mode with the number {}", unknown.0);
        Error::new(ErrorKind::Usage, message)
    })?;
    let words = admission::sync::Asked {
        source: &spec.source,
        target: &spec.target,
        exclude: &spec.exclude,
        limit_bytes: spec.limit_bytes,
    };
    let target = admission::sync::create(&words).map_err(|denied| refusal::denied(&denied.into(), None))?;
    Ok(NewSync {
        name: None,
        source: spec.source,
        host: spec.host,
        target,
        mode: convert::sync_mode_of(mode),
        exclude: spec.exclude,
        no_gitignore: spec.no_gitignore,
        git_dir: spec.git_dir,
        limit_bytes: spec.limit_bytes,
        adopt: false,
    })
}

#[tonic::async_trait]
impl SyncService for Syncs {
    async fn preview_sync(
        &self,
        request: Request<PreviewSyncRequest>,
    ) -> Result<Response<PreviewSyncResponse>, Status> {
        unless_ending(&self.app, self.preview(request.into_inner())).await
    }

    async fn create_sync(
        &self,
        request: Request<CreateSyncRequest>,
    ) -> Result<Response<CreateSyncResponse>, Status> {
        unless_ending(&self.app, self.create(request.into_inner())).await
    }

    async fn list_syncs(&self, _: Request<ListSyncsRequest>) -> Result<Response<ListSyncsResponse>, Status> {
        let syncs = self.syncs.messages().await.map_err(Error::into_status)?;
        Ok(Response::new(ListSyncsResponse { syncs }))
    }

    async fn get_sync(&self, request: Request<GetSyncRequest>) -> Result<Response<GetSyncResponse>, Status> {
        let sync = self.syncs.resolve(&request.into_inner().sync).await;
        let sync = sync.map_err(Error::into_status)?;
        Ok(Response::new(GetSyncResponse {
            sync: Some(self.syncs.message(&sync)),
        }))
    }

    type FlushSyncStream = ReceiverStream<Result<FlushSyncResponse, Status>>;

    async fn flush_sync(
        &self,
        request: Request<FlushSyncRequest>,
    ) -> Result<Response<Self::FlushSyncStream>, Status> {
        let sync = self.syncs.resolve(&request.into_inner().sync).await;
        let sync = sync.map_err(Error::into_status)?;
        let (answers, stream) = mpsc::channel(flush::QUEUE);
        self.app
            .tasks
            .spawn(flush::serve(self.syncs.clone(), sync, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn pause_sync(
        &self,
        request: Request<PauseSyncRequest>,
    ) -> Result<Response<PauseSyncResponse>, Status> {
        unless_ending(&self.app, self.pause(request.into_inner())).await
    }

    async fn resume_sync(
        &self,
        request: Request<ResumeSyncRequest>,
    ) -> Result<Response<ResumeSyncResponse>, Status> {
        unless_ending(&self.app, self.resume(request.into_inner())).await
    }

    async fn reset_sync(
        &self,
        request: Request<ResetSyncRequest>,
    ) -> Result<Response<ResetSyncResponse>, Status> {
        unless_ending(&self.app, self.reset(request.into_inner())).await
    }

    async fn delete_sync(
        &self,
        request: Request<DeleteSyncRequest>,
    ) -> Result<Response<DeleteSyncResponse>, Status> {
        unless_ending(&self.app, self.delete(request.into_inner())).await
    }
}
