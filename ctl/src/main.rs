//! The control program of outlast: reads the command line, asks the daemon, shows the answer.

mod ask;
mod cli;
mod commands;
mod context;
mod duration;
mod environment;
mod error;
mod escapes;
mod follow;
mod notice;
mod progress;
mod pump;
mod rate;
mod render;
mod terminal;

use std::process;

use crate::{context::Context, error::Failure};

/// musl's own asks the system for nearly every piece of memory, and gives it back at once.
#[cfg(target_env = "musl")]
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() {
    let code = match cli::Cli::read() {
        Ok(cli) => run(cli),
        Err(error) if error.use_stderr() => refuse(&error),
        Err(help) => match pump::answer(&help.render().to_string()) {
            Ok(()) => 0,
            Err(failure) => failure.tell(false, false),
        },
    };
    // Without waiting for threads: whatever they still write nobody wants any more.
    process::exit(i32::from(code));
}

/// Does what was asked.
fn run(mut cli: cli::Cli) -> u8 {
    cli.global.debug |= std::env::var_os("OUTLAST_DEBUG").is_some_and(|value| value == "1");
    let (json, debug) = (cli.global.json, cli.global.debug);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting", "the runtime", &error));
    let outcome = runtime.and_then(|runtime| {
        let ctx = Context::new(cli.global);
        let outcome = runtime.block_on(commands::run(&ctx, cli.command));
        // Not waited for, as above.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.tell(json, debug),
    }
}

/// The command line cannot be read.
fn refuse(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument};
    let json = std::env::args_os()
        .take_while(|arg| arg != "--")
        .any(|arg| arg == "--json");
    if error.kind() == DisplayHelpOnMissingArgumentOrSubcommand && !json {
        pump::remark(&error.render().to_string());
        return error::USAGE;
    }
    let failure = error::from_clap(error);
    let lacks_some = error.kind() == MissingRequiredArgument;
    match lacks_some
        .then(|| cli::meant_as_text(std::env::args_os()))
        .flatten()
    {
        Some(instead) => failure.hint(instead),
        None => failure,
    }
    .tell(json, false)
}
