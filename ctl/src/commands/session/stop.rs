//! `session stop`: the program ends, the last screen stays. Returns when it has ended.

use std::time::Duration;

use outlast_client::v1::{self, StopSessionRequest, StopSessionResponse};

use super::wait::{self, Condition};
use crate::{
    cli::SessionStop,
    commands::ending::{Ending, Thing, Words},
    context::{Context, request_id},
    error::Result,
};

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);

const WORDS: Words = Words {
    noun: "session",
    done: "stopped",
};

impl Thing for v1::Session {
    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> String {
        self.name.clone()
    }

    fn handle(&self) -> &str {
        &self.name
    }

    fn host(&self) -> Option<(&str, v1::Link)> {
        Some((&self.host, self.link()))
    }
}

pub async fn stop(ctx: &Context, args: SessionStop) -> Result<u8> {
    let grace = args.grace.unwrap_or(GRACE);
    let mut ending = Ending::new(WORDS, args.until, grace);
    let ask = async |name, ending: &mut Ending<v1::Session>| ask(ctx, name, grace, ending).await;
    ending.ask_all(ctx, args.names, ask).await?;
    ending
        .wait(ctx, |id, resume| async move {
            let done = wait::until(ctx, &id, &Condition::exited(), &resume).await?;
            let session = super::sent(done.session, "session")?;
            super::done(ctx, &session, &super::how_it_ended(&session))
        })
        .await
}

async fn ask(
    ctx: &Context,
    session: String,
    grace: Duration,
    ending: &mut Ending<v1::Session>,
) -> Result<()> {
    let request = StopSessionRequest {
        request_id: request_id(),
        session,
        grace: super::wire(grace),
    };
    let StopSessionResponse {
        session,
        already_ended,
    } = ctx
        .call(request, |daemon, request| async move {
            daemon.sessions().stop_session(request).await
        })
        .await?;
    let session = super::sent(session, "session")?;
    if already_ended {
        let what = format!("had already ended: {}", super::how_it_ended(&session));
        return super::done(ctx, &session, &what);
    }
    match ending.asked(session) {
        Some((session, what)) => super::done(ctx, &session, &what),
        None => Ok(()),
    }
}
