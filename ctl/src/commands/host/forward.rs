//! `host forward`: ports of this machine that lead to a host, for as long as this command runs.

use std::cell::Cell;

use outlast_client::{
    client::ClientError,
    v1::{ForwardHostRequest, ForwardListening, Link, LinkChange, forward_host_response::Event},
};

use super::address;
use crate::{
    cli::{HostForward, LOOPBACK},
    context::{Context, FirstCode},
    error::{Failure, Result},
    follow::{Interrupt, PATIENCE, Patience, away, cut, ended, left},
    pump::answer,
    render::{
        escape::{escape, quote},
        json,
    },
};

pub async fn forward(ctx: &Context, args: HostForward) -> Result<u8> {
    let wanted: Vec<ForwardHostRequest> = args
        .ports
        .iter()
        .map(|text| parse(&args.name, &args.address, text))
        .collect::<Result<_>>()?;
    let mut interrupt = Interrupt::take_over()?;
    let first = FirstCode::default();
    let link = Cell::new(Link::Up);
    let all = futures::future::join_all(wanted.into_iter().enumerate().map(|(number, wanted)| {
        let (first, link) = (&first, &link);
        async move {
            let one = Forward {
                ctx,
                link,
                wanted,
                port: None,
                // One of them says that the connection broke.
                patience: if number == 0 {
                    Patience::new(PATIENCE)
                } else {
                    Patience::silent(PATIENCE)
                },
            };
            // Each is done or reported on its own.
            if let Err(failure) = one.run().await {
                first.note(ctx.tell(failure));
            }
        }
    }));
    tokio::select! {
        biased;
        () = interrupt.pressed() => Err(left(ctx, &format!("no longer forwarding to host {}", args.name))),
        _ = all => Ok(first.get()),
    }
}

/// One forwarded port.
struct Forward<'a> {
    ctx: &'a Context,
    /// What was said last of the link, by any of them.
    link: &'a Cell<Link>,
    wanted: ForwardHostRequest,
    /// Where it listens, once it does.
    port: Option<u32>,
    patience: Patience,
}

impl Forward<'_> {
    async fn run(mut self) -> Result<()> {
        loop {
            let error = self.once().await?;
            if !error.can_go_on() {
                return Err(ended(error, &self.resume()));
            }
            let back = self.patience.reconnect(self.ctx, error).await;
            back.map_err(|failure| failure.hint(self.resume()))?;
        }
    }

    /// Listens until the connection to the daemon breaks.
    async fn once(&mut self) -> Result<ClientError> {
        let daemon = self.ctx.daemon().await?;
        let mut messages = match daemon
            .answer(daemon.hosts().forward_host(self.wanted.clone()))
            .await
        {
            Ok(messages) => messages,
            Err(error) => return Ok(error),
        };
        loop {
            match messages.message().await {
                Ok(Some(message)) => match message.event {
                    Some(Event::Listening(listening)) => self.listens(&listening)?,
                    Some(Event::Link(change)) => self.link(&change)?,
                    Some(Event::Problem(problem)) => self.problem(&problem)?,
                    None => {}
                },
                Ok(None) => return Ok(cut()),
                Err(status) => return Ok(status.into()),
            }
        }
    }

    fn listens(&mut self, at: &ForwardListening) -> Result<()> {
        self.patience.renew();
        // After a break it is the same port again, whatever was asked for first.
        self.wanted.local_port = at.port;
        if self.port.replace(at.port) == Some(at.port) {
            return Ok(());
        }
        if self.ctx.global.json {
            return answer(&json::line(&json::Listening::new(&self.wanted, at)));
        }
        let here = bracketed(&at.address);
        let host = &self.wanted.host;
        let there = match &self.wanted.remote_address {
            Some(address) => format!(
                "{}:{} by way of {host}",
                bracketed(address),
                self.wanted.remote_port
            ),
            None => format!("{host}:{}", self.wanted.remote_port),
        };
        let line = format!("forwarding {here}:{} to {there}", at.port);
        answer(&format!("{}\n", escape(&line)))
    }

    fn link(&self, change: &LinkChange) -> Result<()> {
        let link = change.link();
        if self.link.replace(link) == link {
            return Ok(());
        }
        let host = &self.wanted.host;
        if self.ctx.global.json {
            return answer(&json::line(&json::LinkLine::new(host, change)));
        }
        match away(link) {
            Some(word) => {
                let reason = change.error.as_deref().unwrap_or(&word).trim_end_matches('.');
                let line = format!("outlast: host {host} is away ({reason}); connections wait");
                self.ctx.note(&escape(&line));
            }
            None => self.ctx.note(&format!("outlast: host {host} is back")),
        }
        Ok(())
    }

    fn problem(&self, problem: &str) -> Result<()> {
        if self.ctx.global.json {
            return answer(&json::line(&json::Problem::new(&self.wanted.host, problem)));
        }
        self.ctx.warn(problem);
        Ok(())
    }

    /// What to type to forward this port again.
    fn resume(&self) -> String {
        let at = match self.wanted.local_address.as_deref() {
            None | Some(LOOPBACK) => String::new(),
            Some(address) => format!(" --address {}", quote(address)),
        };
        format!("outlast host forward {} {}{at}", self.wanted.host, self.spec())
    }

    /// This port as it is typed.
    fn spec(&self) -> String {
        let ForwardHostRequest {
            local_port,
            remote_address,
            remote_port,
            ..
        } = &self.wanted;
        match remote_address {
            Some(address) => format!("{local_port}:{}:{remote_port}", bracketed(address)),
            None => format!("{local_port}:{remote_port}"),
        }
    }
}

/// An address as it stands before a port.
fn bracketed(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

/// Reads `[LOCAL:]REMOTE`: REMOTE is a port of the host, or HOST:PORT as the host sees it.
fn parse(host: &str, local_address: &str, text: &str) -> Result<ForwardHostRequest> {
    let bad = |what: &str| {
        Failure::usage(format!("{text:?}: {what}"))
            .hint("it looks like 8080, 8080:80, db:5432 or 15432:db:5432")
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Only a number can be the port here; with nothing but a port behind it, it is one.
    let (local, remote) = match text.split_once(':') {
        Some((local, remote)) if digits(local) => (Some(local), remote),
        _ => (None, text),
    };
    let (remote_address, port) = match remote.rsplit_once(':') {
        None => (None, remote),
        Some((address, port)) => {
            let address = match address.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
                Some(Some(inner)) => inner,
                Some(None) => return Err(bad("the bracket is not closed")),
                None if address.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
                None => address,
            };
            if address.is_empty() {
                return Err(bad("it names no host"));
            }
            (Some(address.to_owned()), port)
        }
    };
    let remote_port = address::port(port).map_err(bad)?;
    let local_port = match local {
        None => remote_port,
        Some(zero) if zero.bytes().all(|byte| byte == b'0') => 0,
        Some(local) => address::port(local).map_err(bad)?,
    };
    Ok(ForwardHostRequest {
        host: host.to_owned(),
        local_address: Some(local_address.to_owned()),
        local_port: local_port.into(),
        remote_address,
        remote_port: remote_port.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_people_write_them() {
        for (text, local, address, port) in [
            ("8080", 8080, None, 8080),
            ("8080:80", 8080, None, 80),
            ("0:80", 0, None, 80),
            ("db:5432", 5432, Some("db"), 5432),
            ("15432:db.internal:5432", 15432, Some("db.internal"), 5432),
            ("[::1]:443", 443, Some("::1"), 443),
            ("0:[::1]:443", 0, Some("::1"), 443),
            ("8080:10.0.0.1:80", 8080, Some("10.0.0.1"), 80),
        ] {
            let read = parse("build1", "127.0.0.1", text).unwrap();
            assert_eq!(
                (read.local_port, read.remote_address.as_deref(), read.remote_port),
                (local, address, port),
                "{text}"
            );
        }
        for text in [
            "", "x", "0", "80:", ":80", "70000", "80:70000", "::1:80", "[::1:80", "80:db:", "80::80", "-1",
        ] {
            assert!(parse("build1", "127.0.0.1", text).is_err(), "{text:?}");
        }
    }
}
