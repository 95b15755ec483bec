//! `host add`: a new host, connected to at once. What cannot be connected to is not kept, unless that was asked for.

use std::path::{Path, PathBuf};

use outlast_client::v1::{
    AddHostRequest, CheckStep, Host, Link, RemoveHostRequest, SshTransport, add_host_request::Address,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{address, connect, print, sent};
use crate::{
    cli::{HostAdd, Transport},
    context::{Context, request_id},
    error::{Failure, INTERRUPTED, Result},
    follow::{Interrupt, left},
    render::people,
};

pub async fn add(ctx: &Context, args: HostAdd) -> Result<u8> {
    let request = AddHostRequest {
        request_id: request_id(),
        name: args.name.clone(),
        address: Some(place(&args)?),
    };
    let mut interrupt = Interrupt::take_over()?;
    let take = |kind| signal(kind).map_err(|error| Failure::io("taking over", "signals", &error));
    let (mut terminate, mut hangup) = (take(SignalKind::terminate())?, take(SignalKind::hangup())?);
    let create = ctx.call(request, |daemon, request| async move {
        daemon.hosts().add_host(request).await
    });
    let added = tokio::select! {
        biased;
        () = interrupt.pressed() => {
            return Err(left(ctx, "the host may have been added or not; see: outlast host list"));
        }
        added = create => sent(added?.host, "host")?,
    };
    let name = &args.name;
    if args.no_check {
        print(ctx, &added)?;
        ctx.note(&format!(
            "host {name} was added; connect to it with: outlast host check {name}"
        ));
        return Ok(0);
    }

    if ctx.err.terminal {
        ctx.note(&format!("connecting to {name}; Ctrl-C takes it back"));
    }
    let open = connect::open(ctx, name, false, &args.accept);
    let mut steps = Vec::new();
    let connected = {
        let told = |step: &CheckStep| {
            if ctx.err.terminal {
                ctx.note(&people::step(step));
            }
            Ok(())
        };
        // On the heap: it is large, and part of the command.
        let attempt = Box::pin(connect::connect(ctx, &open, &mut steps, told));
        tokio::select! {
            biased;
            () = interrupt.pressed() => None,
            _ = terminate.recv() => Some(Err(Failure::Exit(128 + 15))),
            _ = hangup.recv() => Some(Err(Failure::Exit(128 + 1))),
            outcome = attempt => Some(outcome),
        }
    };
    let failure = match connected {
        Some(Ok(end)) if connect::went_well(&end, &steps) => {
            return kept(ctx, name, &sent(end.host, "host")?);
        }
        Some(Ok(end)) => {
            let host = end.host.as_ref();
            Some(helped(connect::failure(name, &steps, host), host).also(way_on(host)))
        }
        Some(Err(failure)) => Some(failure.also(ANYWAY)),
        None => None,
    };
    let taken_back = take_back(ctx, &mut interrupt, name).await;
    let left_behind = format!("host {name} may still be there; remove it with: outlast host remove {name}");
    Err(match (failure, taken_back) {
        (None, Ok(())) => left(ctx, &format!("host {name} was not added")),
        (None, Err(_)) => left(ctx, &left_behind),
        (Some(failure), Ok(())) => failure.before(&format!("host {name} was not added")),
        // The first cause is told, and that something is left behind.
        (Some(failure), Err(_)) => {
            ctx.warn(&left_behind);
            failure.before(&format!("host {name} is not connected"))
        }
    })
}

/// What helps when it cannot be connected to; an unknown key is taken by a flag, as there is no host yet to trust.
fn helped(failure: Failure, host: Option<&Host>) -> Failure {
    match host {
        Some(Host {
            key_shown: Some(key),
            reason: Some(reason),
            ..
        }) if reason == "key_unknown" => failure.hint(format!(
            "compare the fingerprint with the host's own, then add --accept-key {key} (--accept-new takes any key)"
        )),
        _ => failure,
    }
}

/// How a host is kept that cannot be connected to.
const ANYWAY: &str = "--no-check adds it anyway";

/// As [`ANYWAY`]; what helps against a changed key needs the host to be there.
fn way_on(host: Option<&Host>) -> &'static str {
    match host.map(Host::link) {
        Some(Link::HostkeyChanged) => "for that, add it with --no-check first",
        _ => ANYWAY,
    }
}

/// It is connected: prints it, and says what to do with it.
fn kept(ctx: &Context, name: &str, host: &Host) -> Result<u8> {
    print(ctx, host)?;
    let by = host
        .transport
        .as_deref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    ctx.note(&format!(
        "host {name} is connected{by}; try: outlast run --host {name} -- uname -a"
    ));
    Ok(0)
}

/// Removes what was just added.
async fn take_back(ctx: &Context, interrupt: &mut Interrupt, name: &str) -> Result<()> {
    let request = RemoveHostRequest {
        request_id: request_id(),
        host: name.to_owned(),
        force: true,
        dry_run: false,
    };
    let remove = ctx.call(request, |daemon, request| async move {
        daemon.hosts().remove_host(request).await
    });
    tokio::select! {
        biased;
        () = interrupt.pressed() => Err(Failure::Exit(INTERRUPTED)),
        removed = remove => match removed {
            Err(failure) if failure.is_not_found() => Ok(()),
            outcome => outcome.map(|_counts| ()),
        }
    }
}

/// How it is reached.
fn place(args: &HostAdd) -> Result<Address> {
    if let Some(command) = &args.command {
        return Ok(Address::Command(address::command(command)?));
    }
    let mut ssh = address::parse(args.address.as_deref().unwrap_or_default())?;
    ssh.identities = args
        .identity
        .iter()
        .map(|file| identity(file))
        .collect::<Result<_>>()?;
    ssh.jump.clone_from(&args.jump);
    let transport = match args.transport {
        Transport::Auto => SshTransport::Unspecified,
        Transport::Ssh2 => SshTransport::Ssh2,
        Transport::Ssh => SshTransport::Ssh,
    };
    ssh.set_transport(transport);
    Ok(Address::Ssh(ssh))
}

/// A file of a private key, by its absolute path: the daemon has another directory.
fn identity(file: &Path) -> Result<String> {
    let bad = |why: &dyn std::fmt::Display| Failure::usage(format!("--identity {}: {why}", file.display()));
    // As in --identity=~/key, which the shell leaves alone.
    let path = match (file.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => file.to_owned(),
    };
    let path = std::path::absolute(path).map_err(|error| bad(&error))?;
    if let Err(error) = std::fs::metadata(&path) {
        return Err(bad(&error));
    }
    path.into_os_string()
        .into_string()
        .map_err(|_not_utf8| bad(&"the path is not UTF-8"))
}
