//! `session create`: a program in a new session. Answers when it runs, or is known not to.

use outlast_client::v1::{CreateSessionRequest, ErrorKind, SessionState};

use crate::{
    cli::{SessionCreate, SyncFailure},
    commands::sync::ready::{Work, ready},
    context::{Context, request_id},
    environment,
    error::{Failure, Result},
    pump::answer,
    render::json,
    terminal,
};

pub async fn create(ctx: &Context, mut args: SessionCreate) -> Result<u8> {
    if args.attach {
        super::attach::check()?;
    }
    let work = Work {
        what: "the session",
        failure: SyncFailure::Warn,
        waits: args.attach,
        waiting: "with --attach it is waited for",
        host: args.host.as_deref(),
        cwd: args.cwd.as_deref(),
    };
    // On the heap: it is large, and most sessions do without.
    if let Some(ready) = Box::pin(ready(ctx, &args.sync, work)).await? {
        args.host = Some(ready.host);
        args.cwd = ready.cwd.or(args.cwd);
    }
    let said_cwd = args.cwd.is_some();
    let baggage = environment::pack(ctx, args.host.as_deref(), args.cwd.as_deref(), &args.env)?;
    let request = CreateSessionRequest {
        request_id: request_id(),
        name: args.name,
        host: args.host,
        cwd: baggage.cwd.clone().filter(|_| said_cwd),
        default_cwd: baggage.cwd.filter(|_| !said_cwd),
        command: args.command,
        restart_command: args.restart_command,
        base_env: baggage.base,
        env: baggage.set,
        template: args.template,
        provider: args.provider,
        size: terminal::is_there().then(terminal::size),
    };
    let created = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().create_session(request).await
        })
        .await?;
    let session = super::sent(created.session, "session")?;
    let session = match super::made::wait(ctx, session).await {
        Err(failure) if args.attach => return Err(failure.of_program()),
        session => session?,
    };
    if let Some(failure) = super::made::failure(&session) {
        if !args.attach {
            return Err(failure);
        }
        // Attaching stands for the program: 126 and 127 are what a shell would say.
        let code = ctx.tell(failure.of_program());
        let own = session.exit_code.and_then(|code| u8::try_from(code).ok());
        return Err(Failure::Exit(own.unwrap_or(code)));
    }
    let runs = session.state() == SessionState::Running;
    if args.attach && runs {
        return super::attach::of(ctx, session, false)
            .await
            .map_err(Failure::of_program);
    }
    let kept = super::made::kept(&session);
    if let Some(kept) = kept.as_ref().filter(|_| args.attach) {
        let name = &session.name;
        let message = format!("session {name} {kept}; this terminal was not attached");
        let failure = Failure::new(ErrorKind::Unreachable, message);
        let hint = format!("outlast attach {name}");
        return Err(failure.hint(hint).about(&session.id).of_program());
    }
    if ctx.global.json {
        answer(&json::line(&json::Session::from(&session)))?;
    } else {
        if runs {
            ctx.note(&format!(
                "session {}, attach with: outlast attach {}",
                session.name, session.name
            ));
        } else if let Some(kept) = kept {
            ctx.note(&format!("session {} {kept}", session.name));
        } else {
            ctx.note(&format!(
                "session {} {}; its last screen: outlast session peek {}",
                session.name,
                super::how_it_ended(&session),
                session.name
            ));
        }
        answer(&format!("{}\n", session.id))?;
    }
    // What it was to be attached to has ended before.
    Ok(if args.attach { super::code(&session) } else { 0 })
}
