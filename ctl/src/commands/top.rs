//! `top`: a live dashboard of what runs where and what waits for somebody.
//!
//! ```text
//!   outlastd ──events──► feed ──┐                        ┌──► deed ──► outlastd (send, interrupt, stop, cancel)
//!   outlastd ──screen──► watch ─┼─ In ─► State ─ Effect ─┼──► watch, of what is selected now
//!   keyboard ──bytes───► keys ──┘          │             └──► attach, then back
//!                                          └─ view ─► canvas ─ what changed ─► terminal
//! ```
//!
//! [`state::State`] and the view are pure; [`run`] joins them with the world. Nothing is asked by the clock: an event
//! says what has to be asked again. What is drawn is escaped like everywhere else, and only what changed is sent.

mod canvas;
mod choice;
mod deed;
mod feed;
mod input;
mod keys;
mod look;
mod order;
mod picture;
mod press;
mod run;
mod section;
mod stale;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use crate::{
    context::Context,
    error::{Failure, Result},
    terminal,
};

pub async fn top(ctx: &Context) -> Result<u8> {
    if ctx.global.json {
        return Err(Failure::usage("top is a screen for people and has no JSON")
            .hint("outlast events --follow --json"));
    }
    if !terminal::is_there() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
        return Err(
            Failure::usage("top needs a terminal on stdin and stdout that can move its cursor")
                .hint("outlast"),
        );
    }
    // Before the screen is taken: whoever has no daemon reads why.
    ctx.daemon().await?;
    ctx.hush();
    run::run(ctx).await
}
