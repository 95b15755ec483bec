//! `ProviderService`: programs whose doings are known.

use std::{sync::Arc, time::Duration};

use outlast_client::v1::{
    self, ChangeProviderHooksRequest, ChangeProviderHooksResponse, CheckProviderRequest,
    CheckProviderResponse, Error, GetProviderRequest, GetProviderResponse, ListProvidersRequest,
    ListProvidersResponse, provider_service_server::ProviderService,
};
use outlast_model::provider::Check;
use tonic::{Request, Response, Status};

use super::{
    convert::{doing, duration, timestamp},
    host::unknown_host,
    session::unless_ending,
    status::{Failure, failure},
};
use crate::{
    app::App,
    hosts::{Host, LOCAL},
    providers::{self, Provider, Wanted, check},
};

/// The handlers.
pub struct Providers {
    app: Arc<App>,
}

impl Providers {
    /// Over the daemon's parts.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn list(&self) -> Result<Vec<v1::Provider>, Failure> {
        let checks = self.app.store.checks().await?;
        Ok(self
            .app
            .providers
            .iter()
            .map(|provider| message(provider, &checks))
            .collect())
    }

    async fn get(&self, name: &str) -> Result<v1::Provider, Error> {
        let provider = self.app.providers.get(name)?;
        let checks = self.app.store.checks().await.map_err(failure)?;
        Ok(message(provider, &checks))
    }

    async fn check(&self, request: CheckProviderRequest) -> Result<CheckProviderResponse, Error> {
        let provider = self.app.providers.get(&request.provider)?;
        let host = self.host(request.host)?;
        let (found, steps) = check::check(&host, provider, request.base_env).await?;
        let kept = self.app.store.keep_check(&found).await.map_err(failure)?;
        Ok(CheckProviderResponse {
            check: Some(check_message(&kept)),
            steps: steps.into_iter().map(step_message).collect(),
        })
    }

    async fn change(
        &self,
        request: ChangeProviderHooksRequest,
    ) -> Result<ChangeProviderHooksResponse, Error> {
        let provider = self.app.providers.get(&request.provider)?;
        let host = self.host(request.host)?;
        let wanted = Wanted {
            uninstall: request.uninstall,
            dry_run: request.dry_run,
            state: request.state.as_deref(),
        };
        let change = providers::change(&host, provider, request.base_env, wanted).await?;
        Ok(ChangeProviderHooksResponse {
            path: change.path,
            before: change.before,
            after: change.after,
            backup: change.backup,
            state: change.state,
            remark: change.remark.map(str::to_owned),
        })
    }

    fn host(&self, name: Option<String>) -> Result<Arc<Host>, Error> {
        let name = name.unwrap_or_else(|| LOCAL.to_owned());
        let host = self.app.hosts.get(&name);
        host.ok_or_else(|| failure(unknown_host(&name)))
    }
}

fn message(provider: &Provider, checks: &[Check]) -> v1::Provider {
    let group = |any_of: &Vec<String>| v1::VariableGroup {
        any_of: any_of.clone(),
    };
    v1::Provider {
        name: provider.name.clone(),
        display_name: provider.display_name.clone(),
        built_in: provider.built_in,
        configured: provider.configured,
        binary: provider.binary.clone(),
        arguments: provider.arguments.clone(),
        programs: provider.programs.clone(),
        version_command: provider.version_command.clone(),
        environment: provider.environment.iter().map(group).collect(),
        resume_command: provider.resume_command.clone(),
        test_command: provider.test_command.clone(),
        hooks: provider.hooks.map(|recipe| recipe.as_str().to_owned()),
        bell_waits: provider.bell_waits,
        screen: provider
            .screen
            .iter()
            .map(|rule| v1::ProviderRule {
                name: rule.name.clone(),
                doing: rule.doing().map_or(v1::Activity::Unspecified, doing).into(),
                pattern: rule.pattern.get_ref().clone(),
                last_lines: rule.last_lines,
                title: rule.title,
                menu: rule.menu,
            })
            .collect(),
        checks: checks
            .iter()
            .filter(|check| check.provider == provider.name)
            .map(check_message)
            .collect(),
    }
}

fn check_message(check: &Check) -> v1::ProviderCheck {
    v1::ProviderCheck {
        provider: check.provider.clone(),
        host: check.host.clone(),
        checked_at: Some(timestamp(check.at)),
        ok: check.ok,
        path: check.path.clone(),
        version: check.version.clone(),
        problem: check.problem.clone(),
        took: check.took_ms.map(duration),
        mean: check.mean_ms().map(duration),
        last_ok_at: check.last_ok_at.map(timestamp),
    }
}

fn step_message(step: check::Step) -> v1::ProviderCheckStep {
    let millis = |took: Duration| duration(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    v1::ProviderCheckStep {
        step: step.step.to_owned(),
        ok: step.ok,
        message: step.message,
        took: step.took.map(millis),
    }
}

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn list_providers(
        &self,
        _: Request<ListProvidersRequest>,
    ) -> Result<Response<ListProvidersResponse>, Status> {
        let providers = self.list().await?;
        Ok(Response::new(ListProvidersResponse { providers }))
    }

    async fn get_provider(
        &self,
        request: Request<GetProviderRequest>,
    ) -> Result<Response<GetProviderResponse>, Status> {
        let provider = self.get(&request.into_inner().provider).await;
        let provider = provider.map_err(Error::into_status)?;
        Ok(Response::new(GetProviderResponse {
            provider: Some(provider),
        }))
    }

    async fn check_provider(
        &self,
        request: Request<CheckProviderRequest>,
    ) -> Result<Response<CheckProviderResponse>, Status> {
        unless_ending(&self.app, self.check(request.into_inner())).await
    }

    async fn change_provider_hooks(
        &self,
        request: Request<ChangeProviderHooksRequest>,
    ) -> Result<Response<ChangeProviderHooksResponse>, Status> {
        unless_ending(&self.app, self.change(request.into_inner())).await
    }
}
