//! Verbs on templates.

pub mod check;
pub mod list;
pub mod show;

use outlast_client::v1::{self, GetTemplateRequest, ListTemplatesRequest};

use super::sent;
use crate::{context::Context, error::Result};

/// All templates, by name.
pub async fn all(ctx: &Context) -> Result<Vec<v1::Template>> {
    let found = ctx
        .call(ListTemplatesRequest {}, |daemon, request| async move {
            daemon.templates().list_templates(request).await
        })
        .await?;
    Ok(found.templates)
}

/// The template of a name.
async fn find(ctx: &Context, name: &str) -> Result<v1::Template> {
    let request = GetTemplateRequest {
        template: name.to_owned(),
    };
    let found = ctx
        .call(request, |daemon, request| async move {
            daemon.templates().get_template(request).await
        })
        .await?;
    sent(found.template, "template")
}
