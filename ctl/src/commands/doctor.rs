//! `doctor`: what can be checked from here, even when no daemon can start, and then what the daemon sees.

use std::{
    env,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use outlast_client::{
    client::ClientError,
    paths::{Places, SOCKET_PATH_MAX, find_program},
    v1::{DiagnoseRequest, Finding, FindingLevel},
};

use crate::{
    context::Context,
    error::Result,
    pump::answer,
    render::{escape::escape, json, style::Tone},
};

pub async fn doctor(ctx: &Context) -> Result<u8> {
    let places = ctx.places()?;
    let mut findings = local(ctx, &places);
    match diagnose(ctx).await {
        Ok(seen) => {
            findings.push(finding("daemon", FindingLevel::Ok, "outlastd answers", None));
            // What both looked at, the daemon saw from nearer.
            findings.retain(|own| !seen.iter().any(|other| other.check == own.check));
            findings.extend(seen);
        }
        Err(error) => {
            let fix = match &error {
                ClientError::NotRunning { .. } => Some("outlast daemon start".to_owned()),
                ClientError::StartFailed { hint, .. } => hint.clone(),
                ClientError::Incompatible(_) => Some("outlast daemon restart".to_owned()),
                _ => Some("outlast daemon logs".to_owned()),
            };
            findings.push(finding("daemon", FindingLevel::Fail, &error.to_string(), fix));
        }
    }
    let failed = findings
        .iter()
        .filter(|finding| finding.level() == FindingLevel::Fail)
        .count();
    if ctx.global.json {
        let array: Vec<json::Finding<'_>> = findings.iter().map(json::Finding::from).collect();
        answer(&json::line(&array))?;
    } else {
        answer(&show(ctx, &findings))?;
    }
    Ok(u8::from(failed > 0))
}

async fn diagnose(ctx: &Context) -> std::result::Result<Vec<Finding>, ClientError> {
    let daemon = ctx.connect(ctx.start()).await?;
    let seen = daemon
        .answer(daemon.daemon().diagnose(DiagnoseRequest {}))
        .await?;
    Ok(seen.findings)
}

fn show(ctx: &Context, findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.check.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let tone = match finding.level() {
            FindingLevel::Ok => Tone::Good,
            FindingLevel::Info | FindingLevel::Unspecified => Tone::Dim,
            FindingLevel::Warn => Tone::Warn,
            FindingLevel::Fail => Tone::Bad,
        };
        let level = json::level(finding.level()).unwrap_or_default();
        ctx.out.push(&mut text, tone, &format!("{level:4}"));
        text.push_str(&format!(
            "  {:width$}  {}\n",
            escape(&finding.check),
            escape(&finding.message)
        ));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("      {:width$}  mend it with: {}\n", "", escape(fix)));
        }
    }
    text
}

fn finding(check: &str, level: FindingLevel, message: &str, fix: Option<String>) -> Finding {
    Finding {
        check: check.to_owned(),
        level: level.into(),
        message: message.to_owned(),
        fix,
    }
}

/// What needs no daemon.
fn local(ctx: &Context, places: &Places) -> Vec<Finding> {
    let socket = ctx.global.socket.clone().unwrap_or_else(|| places.socket());
    vec![
        program("outlastd"),
        program("outlast-helper"),
        private("state directory", &places.state_dir),
        private("runtime directory", socket.parent().unwrap_or(Path::new("/"))),
        length(&socket),
        tmux(),
    ]
}

fn program(name: &str) -> Finding {
    match find_program(name) {
        Some(path) => finding(name, FindingLevel::Ok, &path.display().to_string(), None),
        None => finding(
            name,
            FindingLevel::Fail,
            &format!("{name} is not found beside outlast, in ../lib/outlast or in $OUTLAST_LIBDIR"),
            Some(format!("put {name} beside outlast")),
        ),
    }
}

/// A directory that has to be ours alone, or not there yet.
fn private(check: &str, dir: &Path) -> Finding {
    let shown = dir.display();
    let meta = match dir.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{shown} is not there yet; it is made when it is needed");
            return finding(check, FindingLevel::Ok, &message, None);
        }
        Err(error) => {
            let message = format!("looking at {shown}: {error}");
            return finding(check, FindingLevel::Fail, &message, None);
        }
    };
    if !meta.is_dir() {
        let message = format!("{shown} is not a directory of its own (it is a symlink or a file)");
        return finding(
            check,
            FindingLevel::Fail,
            &message,
            Some(format!("mv {shown} {shown}.old")),
        );
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("{shown} belongs to user {}, not to you", meta.uid());
        return finding(check, FindingLevel::Fail, &message, None);
    }
    if meta.mode() & 0o077 != 0 {
        let message = format!("{shown} is open to other users (mode {:o})", meta.mode() & 0o777);
        return finding(
            check,
            FindingLevel::Fail,
            &message,
            Some(format!("chmod 700 {shown}")),
        );
    }
    finding(check, FindingLevel::Ok, &shown.to_string(), None)
}

fn length(socket: &Path) -> Finding {
    let bytes = socket.as_os_str().len();
    if bytes <= SOCKET_PATH_MAX {
        let message = format!(
            "{} ({bytes} of at most {SOCKET_PATH_MAX} bytes)",
            socket.display()
        );
        return finding("socket path", FindingLevel::Ok, &message, None);
    }
    finding(
        "socket path",
        FindingLevel::Fail,
        &format!(
            "{} has {bytes} bytes, at most {SOCKET_PATH_MAX} fit",
            socket.display()
        ),
        Some("name a shorter path with --socket or OUTLAST_SOCKET".to_owned()),
    )
}

fn tmux() -> Finding {
    let found: Option<PathBuf> = env::var_os("PATH").and_then(|path| {
        env::split_paths(&path)
            .map(|dir| dir.join("tmux"))
            .find(|program| program.is_file())
    });
    let Some(found) = found else {
        return finding(
            "tmux",
            FindingLevel::Warn,
            "tmux is not found in PATH; jobs work, sessions do not",
            Some("install tmux 3.2 or newer (Debian, Ubuntu: sudo apt install tmux)".to_owned()),
        );
    };
    let said = Command::new(&found).arg("-V").stdin(Stdio::null()).output();
    match said {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let message = format!("{version} ({})", found.display());
            if old(&version) {
                let fix = "install tmux 3.2 or newer (Debian, Ubuntu: sudo apt install tmux)".to_owned();
                finding(
                    "tmux",
                    FindingLevel::Warn,
                    &format!("{message} is too old"),
                    Some(fix),
                )
            } else {
                finding("tmux", FindingLevel::Ok, &message, None)
            }
        }
        Ok(_) | Err(_) => {
            let message = format!("{} does not say its version", found.display());
            finding("tmux", FindingLevel::Warn, &message, None)
        }
    }
}

/// True for versions before 3.2. What cannot be read ("tmux master") is taken for new.
fn old(version: &str) -> bool {
    let number = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|part| part.parse::<u32>().ok());
    match (part(), part()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) < (3, 2),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_tmux_are_compared_as_numbers() {
        for (version, is_old) in [
            ("tmux 3.3a", false),
            ("tmux 3.2", false),
            ("tmux 3.1c", true),
            ("tmux 2.9", true),
            ("tmux 3.10", false),
            ("tmux next-3.6", false),
            ("tmux master", false),
        ] {
            assert_eq!(old(version), is_old, "{version}");
        }
    }
}
