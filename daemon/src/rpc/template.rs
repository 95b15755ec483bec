//! `TemplateService`: what sessions can be started from.

use std::{collections::BTreeMap, sync::Arc};

use outlast_client::v1::{
    self, Error, ErrorKind, GetTemplateRequest, GetTemplateResponse, ListTemplatesRequest,
    ListTemplatesResponse, template_service_server::TemplateService,
};
use outlast_model::template::{self, Template};
use tonic::{Request, Response, Status};

use crate::{app::App, refusal};

/// The handlers.
pub struct Templates {
    app: Arc<App>,
}

impl Templates {
    /// Over the daemon's parts.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn list(&self) -> Result<Vec<v1::Template>, Error> {
        let all = self.app.config.session_templates();
        all.keys().map(|name| message(&all, name)).collect()
    }

    fn get(&self, name: &str) -> Result<v1::Template, Error> {
        let all = self.app.config.session_templates();
        if !all.contains_key(name) {
            return Err(refusal::no_setting("template", name, all.keys()));
        }
        message(&all, name)
    }
}

fn message(all: &BTreeMap<String, Template>, name: &str) -> Result<v1::Template, Error> {
    let whole = template::flatten(all, name).map_err(|wrong| {
        Error::new(ErrorKind::Failed, wrong.to_string()).with_hint("outlast config check")
    })?;
    Ok(v1::Template {
        name: name.to_owned(),
        description: whole.description,
        command: whole.command.map(|command| command.argv()).unwrap_or_default(),
        restart_command: whole.restart_command,
        env: whole.env.into_iter().collect(),
        cwd: whole.cwd,
        provider: whole.provider,
        inherits: whole.inherits,
    })
}

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn list_templates(
        &self,
        _: Request<ListTemplatesRequest>,
    ) -> Result<Response<ListTemplatesResponse>, Status> {
        let templates = self.list().map_err(Error::into_status)?;
        Ok(Response::new(ListTemplatesResponse { templates }))
    }

    async fn get_template(
        &self,
        request: Request<GetTemplateRequest>,
    ) -> Result<Response<GetTemplateResponse>, Status> {
        let template = self
            .get(&request.into_inner().template)
            .map_err(Error::into_status)?;
        Ok(Response::new(GetTemplateResponse {
            template: Some(template),
        }))
    }
}
