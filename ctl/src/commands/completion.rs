//! `completion`: static scripts for shells.

use std::{env, fs, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::{generate, shells};
use outlast_client::paths::Places;

use crate::{
    cli::{Cli, Completion, Shell, ShellName},
    context::Context,
    error::{Failure, Result},
    pump::answer,
};

pub fn completion(ctx: &Context, args: &Completion) -> Result<u8> {
    match args {
        Completion::Show(name) => {
            answer(&script(which(name)?))?;
        }
        Completion::Install(name) => {
            let shell = which(name)?;
            let path = place(shell)?;
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)
                    .map_err(|error| Failure::io("creating directory", dir.display(), &error))?;
            }
            fs::write(&path, script(shell))
                .map_err(|error| Failure::io("writing", path.display(), &error))?;
            if ctx.global.json {
                answer(&super::config::path_object(&path))?;
            } else {
                answer(&format!("{}\n", path.display()))?;
            }
            ctx.note(match shell {
                Shell::Bash => "new shells have it when the package bash-completion is installed",
                Shell::Zsh => {
                    "put this into ~/.zshrc, before compinit: fpath+=(~/.local/share/zsh/site-functions)"
                }
                Shell::Fish => "new shells have it",
            });
        }
    }
    Ok(0)
}

fn script(shell: Shell) -> String {
    let mut command = Cli::command();
    let mut text = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "outlast", &mut text),
        Shell::Zsh => generate(shells::Zsh, &mut command, "outlast", &mut text),
        Shell::Fish => generate(shells::Fish, &mut command, "outlast", &mut text),
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The shell that was named, else the login shell.
fn which(name: &ShellName) -> Result<Shell> {
    if let Some(shell) = name.shell {
        return Ok(shell);
    }
    let login = env::var_os("SHELL").map(PathBuf::from).unwrap_or_default();
    match login.file_name().and_then(|name| name.to_str()) {
        Some("bash") => Ok(Shell::Bash),
        Some("zsh") => Ok(Shell::Zsh),
        Some("fish") => Ok(Shell::Fish),
        _ => Err(Failure::usage("which shell? $SHELL names none that is known")
            .hint("outlast completion show bash|zsh|fish")),
    }
}

/// Where a shell looks for a user's completions.
fn place(shell: Shell) -> Result<PathBuf> {
    let places = Places::from_env().map_err(outlast_client::client::ClientError::from)?;
    Ok(match shell {
        Shell::Bash => places.data_home.join("bash-completion/completions/outlast"),
        Shell::Zsh => places.data_home.join("zsh/site-functions/_outlast"),
        Shell::Fish => places.config_home.join("fish/completions/outlast.fish"),
    })
}
