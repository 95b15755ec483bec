//! The syncs of the fake daemon.

use outlast_client::v1;
use tonic::{Request, Response, Status, async_trait};

use super::{Script, Services, Stream, answered, services::none, streamed};

impl Script {
    /// As lists have them: by name, without their problems.
    pub fn listed_syncs(&self) -> Vec<v1::Sync> {
        let mut syncs: Vec<_> = self.syncs.values().cloned().collect();
        syncs.sort_by(|a, b| a.name.cmp(&b.name));
        for sync in &mut syncs {
            sync.problems.clear();
        }
        syncs
    }
}

#[async_trait]
impl v1::sync_service_server::SyncService for Services {
    type FlushSyncStream = Stream<v1::FlushSyncResponse>;

    async fn preview_sync(
        &self,
        request: Request<v1::PreviewSyncRequest>,
    ) -> Result<Response<v1::PreviewSyncResponse>, Status> {
        answered(self.0.lock().unwrap().preview_sync.as_mut(), request)
    }

    async fn create_sync(
        &self,
        request: Request<v1::CreateSyncRequest>,
    ) -> Result<Response<v1::CreateSyncResponse>, Status> {
        answered(self.0.lock().unwrap().create_sync.as_mut(), request)
    }

    async fn list_syncs(
        &self,
        _request: Request<v1::ListSyncsRequest>,
    ) -> Result<Response<v1::ListSyncsResponse>, Status> {
        let syncs = self.0.lock().unwrap().listed_syncs();
        Ok(Response::new(v1::ListSyncsResponse { syncs }))
    }

    async fn get_sync(
        &self,
        request: Request<v1::GetSyncRequest>,
    ) -> Result<Response<v1::GetSyncResponse>, Status> {
        let name = request.into_inner().sync;
        match self.0.lock().unwrap().syncs.get(&name).cloned() {
            Some(sync) => Ok(Response::new(v1::GetSyncResponse { sync: Some(sync) })),
            None => Err(none("sync", &name)),
        }
    }

    async fn flush_sync(
        &self,
        request: Request<v1::FlushSyncRequest>,
    ) -> Result<Response<Self::FlushSyncStream>, Status> {
        streamed(self.0.lock().unwrap().flush_sync.as_mut(), request)
    }

    async fn pause_sync(
        &self,
        request: Request<v1::PauseSyncRequest>,
    ) -> Result<Response<v1::PauseSyncResponse>, Status> {
        answered(self.0.lock().unwrap().pause_sync.as_mut(), request)
    }

    async fn resume_sync(
        &self,
        request: Request<v1::ResumeSyncRequest>,
    ) -> Result<Response<v1::ResumeSyncResponse>, Status> {
        answered(self.0.lock().unwrap().resume_sync.as_mut(), request)
    }

    async fn reset_sync(
        &self,
        request: Request<v1::ResetSyncRequest>,
    ) -> Result<Response<v1::ResetSyncResponse>, Status> {
        answered(self.0.lock().unwrap().reset_sync.as_mut(), request)
    }

    async fn delete_sync(
        &self,
        request: Request<v1::DeleteSyncRequest>,
    ) -> Result<Response<v1::DeleteSyncResponse>, Status> {
        answered(self.0.lock().unwrap().delete_sync.as_mut(), request)
    }
}
