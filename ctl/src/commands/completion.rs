//! `completion`: scripts for shells. Verbs and flags stand in them; for the names of jobs, sessions, hosts and syncs, and for
//! directories on hosts, they ask `completion names`, which answers from a daemon that runs and never starts one.

mod directories;
mod names;

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

pub async fn completion(ctx: &Context, args: &Completion) -> Result<u8> {
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
        Completion::Names(words) => return names::names(ctx, words).await,
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
    with_names(shell, &String::from_utf8_lossy(&text))
}

/// What is put before the functions of zsh: the words, before its own completion takes them apart.
const ZSH_WORDS: &str = "    local -a outlast_words; outlast_words=(\"${(@)words[2,CURRENT-1]}\")
    local outlast_word=$words[CURRENT]
";

/// How the arguments end in the script of zsh that name something there is: by their help, or the name of their value.
const ZSH_NAMED: [&str; 12] = [
    "unique beginning of an id",
    "all that have ended)",
    "Name of the host",
    "Names of hosts",
    "Names of providers",
    "Names of providers (all when left out)",
    "Names of templates (all when left out)",
    "]:HOST",
    "]::NAME",
    "]::PATH",
    "]:PROVIDER",
    "]:TEMPLATE",
];

/// How the argument ends there that is a place on a host, or a directory here.
const ZSH_PLACED: &str = "the directory here, and where it goes";

/// What zsh offers where a name is asked for.
const ZSH_NAMES: &str = "
(( $+functions[_outlast_names] )) ||
_outlast_names() {
    local -a names
    names=(${(f)\"$(outlast completion names --word=\"$outlast_word\" -- \"${(@)outlast_words}\" 2>/dev/null)\"})
    (( $#names )) || return 1
    if [[ $names[1] == *[:/] ]]; then
        compadd -S '' -a names
    else
        compadd -a names
    fi
}

(( $+functions[_outlast_places] )) ||
_outlast_places() {
    _outlast_names || _files
}
";

/// What bash does: names where names are asked for, else what the script says. It takes words apart at `=` and `:`, and puts
/// what is offered after the last of them.
const BASH_NAMES: &str = "
_outlast_names() {
    local names word cur=${COMP_WORDS[COMP_CWORD]}
    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do
        # A program of the user's: its name, then whatever bash offers.
        if [[ $word == -- ]]; then
            COMPREPLY=()
            [[ ${COMP_WORDS[COMP_CWORD-1]} == -- ]] && COMPREPLY=($(compgen -c -- \"$cur\"))
            return
        fi
    done
    if [[ $cur != -* ]]; then
        names=$(outlast completion names --word=\"$cur\" -- \"${COMP_WORDS[@]:1:COMP_CWORD-1}\" 2>/dev/null)
        if [[ -n $names ]]; then
            if [[ $cur == : ]]; then
                names=${names//\"${COMP_WORDS[COMP_CWORD-1]}:\"/}
            elif [[ ${COMP_WORDS[COMP_CWORD-1]} == : ]]; then
                names=${names//\"${COMP_WORDS[COMP_CWORD-2]}:\"/}
            fi
            [[ $cur == [:=] ]] && cur=
            [[ $names == *[:/] ]] && compopt -o nospace 2>/dev/null
            COMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))
            return
        fi
    fi
    _outlast \"$@\"
}
";

/// What fish offers besides, and instead of files.
const FISH_NAMES: &str = "
function __fish_outlast_names
    set -l words (commandline -opc)
    set -e words[1]
    set -l word (commandline -ct)
    outlast completion names --word=\"$word\" -- $words 2>/dev/null
end

complete -c outlast -n '__fish_outlast_names | string length -q' -f -a '(__fish_outlast_names)'
complete -c outlast -n '__fish_seen_subcommand_from run create list check install uninstall' -l host -x -a '(__fish_outlast_names)'
complete -c outlast -n '__fish_seen_subcommand_from run create' -l sync -x -a '(__fish_outlast_names)'
complete -c outlast -n '__fish_seen_subcommand_from reset' -l adopt -x -a '(__fish_outlast_names)'
complete -c outlast -n '__fish_seen_subcommand_from create' -l provider -x -a '(__fish_outlast_names)'
complete -c outlast -n '__fish_seen_subcommand_from create' -l template -x -a '(__fish_outlast_names)'
";

/// Adds to a generated script that names are asked for.
fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => {
            let (functions, registration) = script.rsplit_once("\nif [[").unwrap_or((script, ""));
            let registration = registration.replace("-F _outlast ", "-F _outlast_names ");
            format!("{functions}{BASH_NAMES}\nif [[{registration}")
        }
        Shell::Zsh => {
            let script = script.replacen("_outlast() {\n", &format!("_outlast() {{\n{ZSH_WORDS}"), 1);
            let script = ZSH_NAMED.iter().fold(script, |script, end| {
                script.replace(&format!("{end}:_default'"), &format!("{end}:_outlast_names'"))
            });
            let script = script.replace(
                &format!("{ZSH_PLACED}:_default'"),
                &format!("{ZSH_PLACED}:_outlast_places'"),
            );
            let (functions, registration) = script.rsplit_once("\nif [").unwrap_or((&script, ""));
            format!("{functions}{ZSH_NAMES}\nif [{registration}")
        }
        Shell::Fish => format!("{script}{FISH_NAMES}"),
    }
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
