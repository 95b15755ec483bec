//! The command line of `outlast provider` and `outlast template`. The doc comments here are the help.

use clap::{Args, Subcommand};

use super::Names;

/// Programs whose doings are known.
#[derive(Debug, Subcommand)]
pub enum Provider {
    /// List providers, and what was found of them on this machine
    List,
    /// Show everything known about providers
    Show(Names),
    /// Look whether providers can be used: program, version, variables, a harmless test
    Check(ProviderCheck),
    /// Make a provider's program report what it does, by its own configuration
    Install(ProviderHooks),
    /// Take back just what install wrote
    Uninstall(ProviderHooks),
}

#[derive(Debug, Args)]
pub struct ProviderCheck {
    /// Names of providers (all when left out)
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Host to look on (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What is to be changed is shown, and asked about unless --yes is given. Everything else in the file stays as it is, and
outside of sessions what is written does nothing. The program reads it when it is started next.")]
pub struct ProviderHooks {
    /// Names of providers
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Host whose configuration is meant (default: local)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

/// What sessions can be started from.
#[derive(Debug, Subcommand)]
pub enum Template {
    /// List templates
    List,
    /// Show templates with all that they inherit
    Show(Names),
    /// Check templates as the file has them now: variables, parents, providers
    Check(TemplateCheck),
}

#[derive(Debug, Args)]
pub struct TemplateCheck {
    /// Names of templates (all when left out)
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}
