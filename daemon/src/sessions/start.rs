//! What a new session is started with: what was said, on top of its template, on top of its provider. It is settled once,
//! when the session is accepted; later changes of the configuration are for later sessions.

use std::collections::HashMap;

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{
    name::Name,
    template::{self, Template, Values},
};

use crate::{config::Config, providers::Providers, refusal};

/// What was said. What is absent is left to the template.
#[derive(Debug, Default)]
pub struct Said {
    /// Name of the template.
    pub template: Option<String>,
    /// Name of the provider.
    pub provider: Option<String>,
    /// Program and arguments. Empty: not said.
    pub command: Vec<String>,
    /// What restart and recover run instead.
    pub restart_command: Option<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Working directory where the template has none.
    pub default_cwd: Option<String>,
    /// Variables that are set.
    pub env: HashMap<String, String>,
}

/// What it is started with.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// Name of the provider.
    pub provider: Option<String>,
    /// Program and arguments. Empty: the login shell.
    pub command: Vec<String>,
    /// What restart and recover run instead.
    pub restart_command: Option<String>,
    /// Working directory. Absent: the home directory.
    pub cwd: Option<String>,
    /// Variables that are set.
    pub env: HashMap<String, String>,
}

/// Settles it.
///
/// # Errors
/// When there is no such template or provider, or the template has a variable that this session has no value for.
pub fn settle(
    config: &Config,
    providers: &Providers,
    said: Said,
    session: &Name,
    host: &str,
) -> Result<Start, Error> {
    let filled = match &said.template {
        Some(name) => filled(config, name, session, host)?,
        None => Template::default(),
    };
    let provider = said.provider.or(filled.provider);
    let provider = provider.map(|name| providers.get(&name)).transpose()?;
    let command = if said.command.is_empty() {
        filled.command.map(|command| command.argv()).unwrap_or_default()
    } else {
        said.command
    };
    let restart_command = said.restart_command.or(filled.restart_command);
    let (command, restart_command) = match provider {
        // What resumes the plain program is no word about one with arguments.
        Some(provider) if command.is_empty() => (
            [std::slice::from_ref(&provider.binary), &provider.arguments[..]].concat(),
            restart_command.or_else(|| provider.resume_command.clone()),
        ),
        _ => (command, restart_command),
    };
    let mut env: HashMap<_, _> = filled.env.into_iter().collect();
    env.extend(said.env);
    let some = |cwd: Option<String>| cwd.filter(|cwd| !cwd.is_empty());
    Ok(Start {
        provider: provider.map(|provider| provider.name.clone()),
        command,
        restart_command,
        cwd: some(said.cwd).or(filled.cwd).or_else(|| some(said.default_cwd)),
        env,
    })
}

fn filled(config: &Config, name: &str, session: &Name, host: &str) -> Result<Template, Error> {
    let all = config.session_templates();
    if !all.contains_key(name) {
        return Err(refusal::no_setting("template", name, all.keys()));
    }
    let values = Values {
        session_name: session.as_str(),
        workspace_name: None,
        host_name: host,
    };
    let whole = template::flatten(&all, name)
        .map_err(|wrong| Error::new(ErrorKind::Usage, wrong.to_string()).with_hint("outlast config check"))?;
    whole.fill(&values).map_err(|wrong| {
        Error::new(ErrorKind::Usage, format!("template {name}: {wrong}"))
            .with_hint(wrong.hint())
            .about(name)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
        [session_templates.base]
        env = { A = "base", B = "base" }
        cwd = "/srv/{{host_name}}"

        [session_templates.agent]
        inherits = "base"
        provider = "mine"
        env = { B = "{{session_name}}" }

        [session_templates.room]
        command = "run {{workspace_name}}"

        [providers.mine]
        binary = "mine-bin"
        arguments = ["--alone"]
        resume_command = "mine-bin --resume"
    "#;

    fn settled(said: Said) -> Result<Start, Error> {
        let config = Config::parse(CONFIG, Path::new("config.toml")).unwrap();
        let providers = Providers::new(&config).unwrap();
        settle(&config, &providers, said, &"web".parse().unwrap(), "build1")
    }

    fn from(template: &str) -> Said {
        Said {
            template: Some(template.to_owned()),
            ..Said::default()
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_template_and_its_provider_say_what_was_not_said() {
        let start = settled(Said {
            default_cwd: Some("/here".to_owned()),
            ..from("agent")
        })
        .unwrap();
        assert_eq!(start.command, ["mine-bin", "--alone"]);
        assert_eq!(start.restart_command.as_deref(), Some("mine-bin --resume"));
        assert_eq!(start.provider.as_deref(), Some("mine"));
        assert_eq!(start.cwd.as_deref(), Some("/srv/build1"));
        assert_eq!(
            (start.env["A"].as_str(), start.env["B"].as_str()),
            ("base", "web")
        );
    }

    #[test]
    fn what_was_said_wins() {
        let said = Said {
            provider: Some("bash".to_owned()),
            command: words("mine-bin --fast"),
            cwd: Some("/said".to_owned()),
            env: HashMap::from([("A".to_owned(), "said".to_owned())]),
            ..from("agent")
        };
        let start = settled(said).unwrap();
        assert_eq!(start.command, ["mine-bin", "--fast"]);
        assert_eq!(start.restart_command, None, "it would lose the arguments");
        assert_eq!(start.provider.as_deref(), Some("bash"));
        assert_eq!(start.cwd.as_deref(), Some("/said"));
        assert_eq!(
            (start.env["A"].as_str(), start.env["B"].as_str()),
            ("said", "web")
        );
    }

    #[test]
    fn without_a_template_there_is_the_default() {
        let start = settled(Said {
            default_cwd: Some("/here".to_owned()),
            ..Said::default()
        })
        .unwrap();
        assert_eq!((start.command.len(), start.cwd.as_deref()), (0, Some("/here")));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let error = settled(from("agnet")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint.unwrap().contains("agent"));
        let said = Said {
            provider: Some("clade".to_owned()),
            ..Said::default()
        };
        assert!(settled(said).unwrap_err().hint.unwrap().contains("claude"));
        let error = settled(from("room")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.message.contains("workspace_name"), "{}", error.message);
    }
}
