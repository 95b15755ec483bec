//! What everything that is started here rests on: the variables its own are put on top of, which are the login
//! environment with the agent socket where the daemon forwards one, and the helper's file.

use crate::{
    installed,
    program::{self, Environment},
    service::Core,
    spool::{Base, Spec},
};

/// Name of the variable that leads to an ssh-agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What a login begins with, for a shell that makes the login environment by itself.
pub(super) fn beginning(core: &Core) -> Environment {
    with_agent(core, core.login.beginning())
}

/// The login environment for what ends with this connection.
pub(super) async fn passing(core: &Core) -> Environment {
    with_agent(core, core.login.passing().await)
}

/// Makes a spec whole: what it builds on is put under its variables, and its directory is named. Waits for the login
/// environment where that is asked for.
pub(super) async fn resolve(core: &Core, mut spec: Spec) -> Spec {
    let Some(Base::Login) = spec.base.take() else {
        return spec;
    };
    let env = with_agent(core, core.login.lasting().await);
    // JSON holds text only, so a variable that is none is left out.
    let mut all: std::collections::BTreeMap<String, String> = env
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    all.append(&mut spec.env);
    let home = all.get("HOME").filter(|home| home.starts_with('/')).cloned();
    let cwd = spec.cwd.take().or(home);
    let cwd = cwd.unwrap_or_else(|| program::home(&Environment::new()).to_string_lossy().into_owned());
    all.insert("PWD".to_owned(), cwd.clone());
    spec.cwd = Some(cwd);
    spec.env = all;
    spec
}

/// Sees to it that the helper that is to hold something is there as a file.
pub(super) async fn put_back(core: &Core) {
    if let Err(error) = installed::put_back(&core.config.helper_program).await {
        // Starting it says what is missing.
        tracing::warn!(%error, "putting the helper back");
    }
}

fn with_agent(core: &Core, mut env: Environment) -> Environment {
    match core.agent.path() {
        Some((path, true)) => drop(env.insert(AGENT_VARIABLE.into(), path.into())),
        // It was offered once and may be again; till then an agent of the start files is the better one.
        Some((path, false)) => drop(env.entry(AGENT_VARIABLE.into()).or_insert_with(|| path.into())),
        None => {}
    }
    env
}
