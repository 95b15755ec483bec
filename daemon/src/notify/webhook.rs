//! A webhook: a JSON object is posted to the URL that is configured.
//!
//! `curl` does it, and reads the URL from its standard input, because whoever knows that URL may use it: it is in no argument,
//! and what curl says of it is not passed on.

use std::time::Duration;

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{
    job::TimeMs,
    notice::{Notice, Noun},
};
use tokio::process::Command;

use super::{
    program::{self, Heard},
    settings::Webhook,
};
use crate::app::now_ms;

/// How long the receiver may take, seconds.
const ANSWERS_WITHIN: u64 = 10;

/// How long curl may take over it: what it does beside is done in no time.
const WITHIN: Duration = Duration::from_secs(ANSWERS_WITHIN + 2);

/// When it is tried for the second time, which is the last.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a receiver did not take it.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    error: Error,
    /// It may be otherwise the next time.
    may_change: bool,
}

/// Posts a notice.
///
/// # Errors
/// When no URL is configured, curl is not there, or the receiver took it neither the first nor the second time.
pub(super) async fn tell(webhook: Option<&Webhook>, notice: &Notice) -> Result<(), Error> {
    let webhook = webhook.ok_or_else(|| {
        Error::new(ErrorKind::WrongState, "no webhook is configured").with_hint(
            "outlast config edit: put webhook = \"https://…\" under [notify], then: outlast daemon restart",
        )
    })?;
    let config = config(webhook, &message(notice, now_ms()));
    match post(&config).await {
        Err(refused) if refused.may_change => {
            tokio::time::sleep(AGAIN_AFTER).await;
            post(&config).await.map_err(|refused| refused.error)
        }
        posted => posted.map_err(|refused| refused.error),
    }
}

/// What is posted.
fn message(notice: &Notice, now: TimeMs) -> String {
    let names = |noun| notice.names(noun).collect::<Vec<_>>();
    let time =
        jiff::Timestamp::from_millisecond(now).map_or_else(|_| String::new(), |now| format!("{now:.3}"));
    serde_json::json!({
        "title": notice.title,
        "body": notice.body,
        "state": notice.state.as_str(),
        "sessions": names(Noun::Session),
        "jobs": names(Noun::Job),
        "host": notice.host(),
        "count": notice.count,
        "time": time,
    })
    .to_string()
}

/// What curl reads. It outranks the user's own configuration of curl, whose proxies and certificates count.
fn config(webhook: &Webhook, message: &str) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "url = \"{}\"\n\
         request = \"POST\"\n\
         header = \"Content-Type: application/json\"\n\
         header = \"User-Agent: outlast/{}\"\n\
         data-binary = \"{}\"\n\
         max-time = {ANSWERS_WITHIN}\n\
         proto = \"=http,https\"\n\
         globoff\n\
         silent\n\
         no-fail\n\
         no-location\n\
         output = \"/dev/null\"\n\
         write-out = \"%{{http_code}}\"\n",
        quoted(webhook.url()),
        outlast_client::VERSION,
        quoted(message),
    )
}

async fn post(config: &str) -> Result<(), Refused> {
    let mut command = Command::new("curl");
    command.args(["--config", "-"]);
    let ran = program::run(command, config.as_bytes(), Heard::Stdout, WITHIN).await;
    match ran {
        Ok(ran) => judge(ran.status.code(), &ran.said),
        Err(not_run) => Err(Refused {
            error: not_run.of("curl", WITHIN),
            may_change: false,
        }),
    }
}

/// What the end of curl and the status of the answer mean.
fn judge(code: Option<i32>, status: &str) -> Result<(), Refused> {
    let (message, may_change) = match (code, status.parse::<u16>()) {
        (Some(0), Ok(200..=299)) => return Ok(()),
        (Some(0), Ok(status)) => {
            // It heard and does not want it; only some refusals are for the moment.
            let may_change = status >= 500 || matches!(status, 408 | 425 | 429);
            (
                format!("the receiver answered with HTTP status {status}"),
                may_change,
            )
        }
        (Some(5), _) => ("the proxy's name cannot be resolved".to_owned(), true),
        (Some(6), _) => ("the receiver's name cannot be resolved".to_owned(), true),
        (Some(7), _) => ("nobody listens there".to_owned(), true),
        (Some(28), _) => (
            format!("the receiver did not answer within {ANSWERS_WITHIN} s"),
            true,
        ),
        (Some(35), _) => (
            "the receiver speaks no TLS that curl understands".to_owned(),
            true,
        ),
        (Some(52 | 55 | 56), _) => ("the connection broke".to_owned(), true),
        (Some(60), _) => ("the receiver's certificate cannot be verified".to_owned(), false),
        (Some(code), _) => (format!("curl failed (exit code {code})"), false),
        (None, _) => ("curl was killed".to_owned(), false),
    };
    let hint = "see whether the URL still holds: outlast config edit, [notify] webhook";
    Err(Refused {
        error: Error::new(ErrorKind::Unreachable, message).with_hint(hint),
        may_change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Value;

    #[test]
    fn what_is_posted_can_break_out_of_nothing() {
        let webhook = super::super::settings::webhook(&Value::Text("https://example.com/x"));
        let notice = Notice {
            body: "say \"hi\\\n\"\noutput = /etc/passwd".to_owned(),
            ..Notice::test()
        };
        let message = message(&notice, 0);
        let config = config(&webhook.unwrap().unwrap(), &message);
        assert_eq!(config.lines().count(), 13, "{config}");
        let line = config
            .lines()
            .find_map(|line| line.strip_prefix("data-binary = "))
            .unwrap();
        let quoted = line.trim_matches('"');
        // As curl reads it.
        let mut read = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            assert_ne!(c, '"', "{line}");
            read.push(if c == '\\' { chars.next().unwrap() } else { c });
        }
        assert_eq!(read, message);
        let json: serde_json::Value = serde_json::from_str(&read).unwrap();
        assert_eq!(json["body"], notice.body);
        assert_eq!(json["time"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        assert_eq!(judge(Some(0), "204"), Ok(()));
        for (code, status, again) in [
            (Some(0), "404", false),
            (Some(0), "302", false),
            (Some(0), "503", true),
            (Some(0), "429", true),
            (Some(7), "000", true),
            (Some(28), "000", true),
            (Some(3), "", false),
            (None, "", false),
        ] {
            assert_eq!(
                judge(code, status).unwrap_err().may_change,
                again,
                "{code:?} {status}"
            );
        }
    }
}
