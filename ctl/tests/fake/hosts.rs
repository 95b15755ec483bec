//! The hosts of the fake daemon.

use outlast_client::{AUTH_SOCK_KEY, v1};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Services, Stream, answered, services::none, streamed, talked};

impl Services {
    /// Notes the ssh-agent that came along.
    fn note<Q>(&self, request: &Request<Q>) {
        let agent = request.metadata().get(AUTH_SOCK_KEY);
        let agent = agent.map(|agent| agent.to_str().unwrap().to_owned());
        self.0.lock().unwrap().agents.lock().unwrap().push(agent);
    }
}

#[async_trait]
impl v1::host_service_server::HostService for Services {
    type CheckHostStream = Stream<v1::CheckHostResponse>;
    type ExecHostStream = Stream<v1::ExecHostResponse>;
    type ForwardHostStream = Stream<v1::ForwardHostResponse>;

    async fn list_hosts(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Result<Response<v1::ListHostsResponse>, Status> {
        self.note(&request);
        let mut hosts: Vec<_> = self.0.lock().unwrap().hosts.values().cloned().collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(v1::ListHostsResponse { hosts }))
    }

    async fn get_host(
        &self,
        request: Request<v1::GetHostRequest>,
    ) -> Result<Response<v1::GetHostResponse>, Status> {
        self.note(&request);
        let name = request.into_inner().host;
        match self.0.lock().unwrap().hosts.get(&name).cloned() {
            Some(host) => Ok(Response::new(v1::GetHostResponse { host: Some(host) })),
            None => Err(none("host", &name)),
        }
    }

    async fn add_host(
        &self,
        request: Request<v1::AddHostRequest>,
    ) -> Result<Response<v1::AddHostResponse>, Status> {
        self.note(&request);
        answered(self.0.lock().unwrap().add_host.as_mut(), request)
    }

    async fn remove_host(
        &self,
        request: Request<v1::RemoveHostRequest>,
    ) -> Result<Response<v1::RemoveHostResponse>, Status> {
        self.note(&request);
        answered(self.0.lock().unwrap().remove_host.as_mut(), request)
    }

    async fn check_host(
        &self,
        request: Request<Streaming<v1::CheckHostRequest>>,
    ) -> Result<Response<Self::CheckHostStream>, Status> {
        self.note(&request);
        talked(self.0.lock().unwrap().check_host.as_mut(), request)
    }

    async fn trust_host(
        &self,
        request: Request<v1::TrustHostRequest>,
    ) -> Result<Response<v1::TrustHostResponse>, Status> {
        self.note(&request);
        answered(self.0.lock().unwrap().trust_host.as_mut(), request)
    }

    async fn exec_host(
        &self,
        request: Request<Streaming<v1::ExecHostRequest>>,
    ) -> Result<Response<Self::ExecHostStream>, Status> {
        self.note(&request);
        talked(self.0.lock().unwrap().exec_host.as_mut(), request)
    }

    async fn forward_host(
        &self,
        request: Request<v1::ForwardHostRequest>,
    ) -> Result<Response<Self::ForwardHostStream>, Status> {
        self.note(&request);
        streamed(self.0.lock().unwrap().forward_host.as_mut(), request)
    }
}
