//! Directories of a host, for a path that is being typed.

use outlast_client::v1::{ExecOpen, exec_host_response::Event};

use crate::{
    commands::host::program::{self, Program},
    context::Context,
};

/// Bytes of names that are read at most; nobody looks through more.
const MOST: usize = 256 << 10;

/// Those in the directory that is typed so far, as places: `HOST:PATH/`. None: the host does not tell.
pub async fn directories(ctx: &Context, host: &str, typed: &str) -> Option<Vec<String>> {
    let (above, begun) = match typed.rfind('/') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    // A program on a host begins in the home directory.
    let dir = match above.strip_prefix("~/").unwrap_or(above) {
        "" => "./",
        dir => dir,
    };
    let open = ExecOpen {
        host: host.to_owned(),
        command: ["ls", "-1ApL", "--", dir].map(str::to_owned).to_vec(),
        ..ExecOpen::default()
    };
    let Program {
        say: _say,
        mut messages,
        mut first,
    } = program::begin(ctx, open, drop).await.ok()?;
    let mut listed = Vec::new();
    loop {
        let message = match first.take() {
            Some(first) => first,
            None => messages.message().await.ok()??,
        };
        match message.event {
            Some(Event::Stdout(bytes)) => listed.extend_from_slice(&bytes),
            // Links that lead nowhere are told there.
            Some(Event::Stderr(_) | Event::Begun(_)) | None => {}
            Some(Event::Ended(_)) => break,
        }
        if listed.len() > MOST {
            break;
        }
    }
    let listed = String::from_utf8_lossy(&listed);
    let names = listed
        .lines()
        .filter(|name| name.ends_with('/') && name.starts_with(begun))
        // What is hidden is offered to who types its dot.
        .filter(|name| !name.starts_with('.') || begun.starts_with('.'));
    Some(names.map(|name| format!("{host}:{above}{name}")).collect())
}
