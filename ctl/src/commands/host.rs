//! Verbs on hosts.

pub mod add;
mod address;
pub mod check;
mod connect;
pub mod exec;
pub mod forward;
pub mod list;
pub mod program;
pub mod remove;
pub mod shell;
pub mod show;
pub mod trust;

use std::time::Duration;

use outlast_client::v1;

use super::sent;
use crate::{
    context::Context,
    error::Result,
    pump::answer,
    render::{json, people, table::terminal_width},
};

/// How long a host may take to let a program begin, or to be trusted: it may have to be connected to first, for which
/// the daemon takes up to 10 s.
const BEGUN_WITHIN: Duration = Duration::from_secs(20);

/// Prints one host as the answer: its line of the list, or its object.
fn print(ctx: &Context, host: &v1::Host) -> Result<()> {
    if ctx.global.json {
        return answer(&json::line(&json::Host::from(host)));
    }
    answer(&people::hosts([host]).show(ctx.out, terminal_width(), ""))
}
