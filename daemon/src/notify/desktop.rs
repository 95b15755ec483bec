//! The desktop of this machine: a program of the system's shows a notification.
//!
//! What is told is an argument or a variable of that program, never a piece of a script. Where a desktop reads markup, what
//! is told has none.

use std::time::Duration;

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::notice::Notice;
use tokio::process::Command;

use super::program::{self, Heard, NotRun};

/// How long a program may take; a desktop that is there answers at once.
const WITHIN: Duration = Duration::from_secs(5);

/// Has osascript show its two arguments.
const MACOS: [&str; 3] = [
    "on run argv",
    "display notification (item 2 of argv) with title \"outlast\" subtitle (item 1 of argv)",
    "end run",
];

/// Has PowerShell show two variables of its environment. They become text of a document, not markup.
const WINDOWS: &str = "
$ErrorActionPreference = 'Stop'
$manager = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$null = [Windows.Data.Xml.Dom.XmlDocument, Windows.Data.Xml.Dom.XmlDocument, ContentType = WindowsRuntime]
$document = $manager::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)
$texts = $document.GetElementsByTagName('text')
$null = $texts.Item(0).AppendChild($document.CreateTextNode($env:OUTLAST_NOTICE_TITLE))
$null = $texts.Item(1).AppendChild($document.CreateTextNode($env:OUTLAST_NOTICE_BODY))
$toast = [Windows.UI.Notifications.ToastNotification]::new($document)
$manager::CreateToastNotifier('outlast').Show($toast)
";

/// What a desktop is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desktop {
    Freedesktop,
    MacOs,
    Windows,
}

impl Desktop {
    const fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else if cfg!(windows) {
            Self::Windows
        } else {
            Self::Freedesktop
        }
    }
}

/// A program that shows a notification.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: &'static str,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// Where to get it.
    package: &'static str,
}

/// Shows a notification.
///
/// # Errors
/// When no program is there that could, or it failed.
pub(super) async fn tell(notice: &Notice) -> Result<(), Error> {
    let programs = programs(Desktop::here(), notice);
    let names: Vec<_> = programs.iter().map(|program| program.name).collect();
    let packages: Vec<_> = programs.iter().map(|program| program.package).collect();
    for program in programs {
        let mut command = Command::new(program.name);
        command.args(&program.args).envs(program.env);
        match program::run(command, b"", Heard::Stderr, WITHIN).await {
            Ok(ran) if ran.status.success() => return Ok(()),
            Ok(ran) => {
                let why = if ran.said.is_empty() {
                    ran.status.to_string()
                } else {
                    ran.said
                };
                let message = format!("{} failed: {why}", program.name);
                return Err(Error::new(ErrorKind::Failed, message).with_hint(
                    "the daemon reaches the desktop it was started from: type this in a terminal there: outlast daemon restart",
                ));
            }
            Err(NotRun::Missing) => {}
            Err(other) => return Err(other.of(program.name, WITHIN)),
        }
    }
    let message = format!("{} is not found in PATH", names.join(", nor "));
    Err(Error::new(ErrorKind::MissingProgram, message).with_hint(format!(
        "install {}, or leave out desktop in [notify] to",
        packages.join(" or ")
    )))
}

/// The programs that show a notification on a desktop; the first one that is there is taken.
fn programs(desktop: Desktop, notice: &Notice) -> Vec<Program> {
    let (title, body) = (notice.title.clone(), notice.body.clone());
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match desktop {
        Desktop::Freedesktop => {
            let mut send = text(&["--app-name=outlast", "--"]);
            send.extend([title.clone(), without_markup(&body)]);
            let mut call = text(&[
                "call",
                "--session",
                "--timeout=4",
                "--dest=org.freedesktop.Notifications",
                "--object-path=/org/freedesktop/Notifications",
                "--method=org.freedesktop.Notifications.Notify",
                "'outlast'",
                "uint32 0",
                "''",
            ]);
            call.extend([gvariant(&title), gvariant(&without_markup(&body))]);
            call.extend(text(&["@as []", "@a{sv} {}", "int32 -1"]));
            vec![
                Program {
                    name: "notify-send",
                    args: send,
                    env: Vec::new(),
                    package: "libnotify-bin",
                },
                Program {
                    name: "gdbus",
                    args: call,
                    env: Vec::new(),
                    package: "libglib2.0-bin",
                },
            ]
        }
        Desktop::MacOs => {
            let mut args: Vec<String> = MACOS.iter().flat_map(|line| text(&["-e", line])).collect();
            args.extend([title, body]);
            vec![Program {
                name: "osascript",
                args,
                env: Vec::new(),
                package: "the system",
            }]
        }
        Desktop::Windows => vec![Program {
            name: "powershell.exe",
            args: text(&["-NoProfile", "-NonInteractive", "-Command", WINDOWS]),
            env: vec![("OUTLAST_NOTICE_TITLE", title), ("OUTLAST_NOTICE_BODY", body)],
            package: "Windows PowerShell",
        }],
    }
}

/// Text that means itself where markup is read.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Text as gdbus reads it.
fn gvariant(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notice {
        Notice {
            title: "agent waits".to_owned(),
            body: "a: Run \"rm -rf $HOME; `id`\" & <b>more</b>?\nb: \\".to_owned(),
            ..Notice::test()
        }
    }

    #[test]
    fn what_is_told_is_an_argument_and_no_markup() {
        let programs = programs(Desktop::Freedesktop, &notice());
        let body = "a: Run \"rm -rf $HOME; `id`\" &amp; &lt;b&gt;more&lt;/b&gt;?\nb: \\";
        assert_eq!(
            programs[0].args,
            ["--app-name=outlast", "--", "agent waits", body]
        );
        let gdbus = &programs[1].args;
        assert_eq!(
            gdbus[9..11],
            [
                "\"agent waits\"",
                "\"a: Run \\\"rm -rf $HOME; `id`\\\" &amp; &lt;b&gt;more&lt;/b&gt;?\\nb: \\\\\""
            ]
        );
    }

    #[test]
    fn scripts_are_the_same_whatever_is_told() {
        for desktop in [Desktop::MacOs, Desktop::Windows] {
            let scripts = |notice: &Notice| {
                let mut args = programs(desktop, notice).remove(0).args;
                if desktop == Desktop::MacOs {
                    let texts = args.split_off(args.len() - 2);
                    assert_eq!(texts, [notice.title.clone(), notice.body.clone()]);
                }
                args
            };
            assert_eq!(scripts(&notice()), scripts(&Notice::test()));
        }
        let env = programs(Desktop::Windows, &notice()).remove(0).env;
        assert_eq!(env[1], ("OUTLAST_NOTICE_BODY", notice().body));
    }
}
