//! A command of the user's: `/bin/sh` runs the line that is configured. What is told is in its environment.

use std::time::Duration;

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::notice::{Notice, Noun};
use tokio::process::Command;

use super::program::{self, Heard};

/// How long it may take. It is for telling; what takes longer belongs into the background.
const WITHIN: Duration = Duration::from_secs(30);

/// Runs the command.
///
/// # Errors
/// When none is configured, or it failed.
pub(super) async fn tell(line: Option<&str>, notice: &Notice) -> Result<(), Error> {
    let line = line.ok_or_else(|| {
        Error::new(ErrorKind::WrongState, "no command is configured").with_hint(
            "outlast config edit: put command = \"…\" under [notify], then: outlast daemon restart",
        )
    })?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).envs(environment(notice));
    // Where it would be typed.
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        command.current_dir(home);
    }
    let ran = program::run(command, b"", Heard::Stderr, WITHIN)
        .await
        .map_err(|error| error.of("the command", WITHIN))?;
    if ran.status.success() {
        return Ok(());
    }
    let why = if ran.said.is_empty() {
        String::new()
    } else {
        format!(": {}", ran.said)
    };
    let message = format!("the command failed ({}){why}", ran.status);
    Err(Error::new(ErrorKind::Failed, message).with_hint("try it in a shell; outlast config edit"))
}

/// What the command is told.
fn environment(notice: &Notice) -> [(&'static str, String); 7] {
    let names = |noun| notice.names(noun).collect::<Vec<_>>().join(",");
    [
        ("OUTLAST_NOTICE_TITLE", notice.title.clone()),
        ("OUTLAST_NOTICE_BODY", notice.body.clone()),
        ("OUTLAST_NOTICE_STATE", notice.state.to_string()),
        ("OUTLAST_NOTICE_SESSION", names(Noun::Session)),
        ("OUTLAST_NOTICE_JOB", names(Noun::Job)),
        (
            "OUTLAST_NOTICE_HOST",
            notice.host().unwrap_or_default().to_owned(),
        ),
        ("OUTLAST_NOTICE_COUNT", notice.count.to_string()),
    ]
}
