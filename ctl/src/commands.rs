//! One verb, one file. Here is only who does what.

mod completion;
mod config;
mod daemon;
mod doctor;
mod ending;
mod events;
mod host;
mod job;
mod notify;
mod overview;
mod provider;
mod run;
mod session;
mod short;
mod status;
mod sync;
mod template;
mod top;
mod version;

use crate::{
    cli::{Command, Config, DaemonCommand, Host, Job, Notify, Provider, Session, Sync, Template},
    context::Context,
    error::{Failure, Result},
};

/// Does what was asked, and returns the exit code.
pub async fn run(ctx: &Context, command: Option<Command>) -> Result<u8> {
    // Boxed, so that a command pays for its own state only.
    match command {
        None => Box::pin(overview::overview(ctx)).await,
        Some(Command::Status) => Box::pin(status::status(ctx)).await,
        Some(Command::Run(args) | Command::Job(Job::Run(args))) => {
            of_program(Box::pin(run::run(ctx, args)).await)
        }
        Some(Command::Attach(args)) => of_program(Box::pin(short::attach(ctx, args)).await),
        Some(Command::Logs(args)) => Box::pin(short::logs(ctx, args)).await,
        Some(Command::Wait(args)) => Box::pin(short::wait(ctx, args)).await,
        Some(Command::Job(job)) => Box::pin(run_job(ctx, job)).await,
        Some(Command::Session(session)) => Box::pin(run_session(ctx, session)).await,
        Some(Command::Host(host)) => Box::pin(run_host(ctx, host)).await,
        Some(Command::Sync(sync)) => Box::pin(run_sync(ctx, sync)).await,
        Some(Command::Top) => Box::pin(top::top(ctx)).await,
        Some(Command::Provider(provider)) => Box::pin(run_provider(ctx, provider)).await,
        Some(Command::Template(template)) => Box::pin(run_template(ctx, template)).await,
        Some(Command::Events(args)) => Box::pin(events::events(ctx, args)).await,
        Some(Command::Notify(Notify::Test(args))) => Box::pin(notify::test::test(ctx, args)).await,
        Some(Command::Doctor) => Box::pin(doctor::doctor(ctx)).await,
        Some(Command::Version) => Box::pin(version::version(ctx)).await,
        Some(Command::Config(config)) => match config {
            Config::Init => config::init(ctx),
            Config::Edit => config::edit(ctx),
            Config::Show => config::show(ctx),
            Config::Check => config::check(ctx),
        },
        Some(Command::Completion(completion)) => Box::pin(completion::completion(ctx, &completion)).await,
        Some(Command::Daemon(command)) => Box::pin(run_daemon(ctx, command)).await,
    }
}

async fn run_job(ctx: &Context, command: Job) -> Result<u8> {
    match command {
        Job::Run(args) => of_program(Box::pin(run::run(ctx, args)).await),
        Job::List(args) => job::list::list(ctx, args).await,
        Job::Show(names) => job::show::show(ctx, names).await,
        Job::Logs(args) => Box::pin(job::logs::logs(ctx, args)).await,
        Job::Wait(args) => of_program(job::wait::wait(ctx, args).await),
        Job::Cancel(args) => job::cancel::cancel(ctx, args).await,
        Job::Retry(names) => job::retry::retry(ctx, names).await,
        Job::Prune(args) => job::prune::prune(ctx, args).await,
    }
}

async fn run_session(ctx: &Context, command: Session) -> Result<u8> {
    match command {
        Session::Create(args) => Box::pin(session::create::create(ctx, args)).await,
        Session::List(args) => session::list::list(ctx, args).await,
        Session::Show(names) => session::show::show(ctx, names).await,
        Session::Attach(args) => of_program(Box::pin(session::attach::attach(ctx, args)).await),
        Session::Peek(args) => session::peek::peek(ctx, args).await,
        Session::Send(args) => session::send::send(ctx, args).await,
        Session::Interrupt(names) => session::interrupt::interrupt(ctx, names).await,
        Session::Logs(args) => Box::pin(session::logs::logs(ctx, args)).await,
        Session::History(args) => session::history::history(ctx, args).await,
        Session::Wait(args) => session::wait::wait(ctx, args).await,
        Session::Stop(args) => session::stop::stop(ctx, args).await,
        Session::Restart(args) => session::restart::restart(ctx, args).await,
        Session::Recover(args) => session::recover::recover(ctx, args).await,
        Session::Delete(args) => session::delete::delete(ctx, args).await,
    }
}

async fn run_host(ctx: &Context, command: Host) -> Result<u8> {
    match command {
        Host::Add(args) => Box::pin(host::add::add(ctx, args)).await,
        Host::List => host::list::list(ctx).await,
        Host::Show(names) => host::show::show(ctx, names).await,
        Host::Check(args) => Box::pin(host::check::check(ctx, args)).await,
        Host::Trust(args) => Box::pin(host::trust::trust(ctx, args)).await,
        Host::Shell(args) => of_program(Box::pin(host::shell::shell(ctx, args)).await),
        Host::Exec(args) => of_program(Box::pin(host::exec::exec(ctx, args)).await),
        Host::Forward(args) => Box::pin(host::forward::forward(ctx, args)).await,
        Host::Remove(args) => host::remove::remove(ctx, args).await,
    }
}

async fn run_sync(ctx: &Context, command: Sync) -> Result<u8> {
    match command {
        Sync::Add(args) => Box::pin(sync::add::add(ctx, args)).await,
        Sync::List => sync::list::list(ctx).await,
        Sync::Show(args) => sync::show::show(ctx, args).await,
        Sync::Flush(args) => Box::pin(sync::flush::flush(ctx, args)).await,
        Sync::Pause(names) => sync::pause::pause(ctx, names).await,
        Sync::Resume(args) => sync::resume::resume(ctx, args).await,
        Sync::Reset(args) => sync::reset::reset(ctx, args).await,
        Sync::Remove(names) => sync::remove::remove(ctx, names).await,
    }
}

async fn run_provider(ctx: &Context, command: Provider) -> Result<u8> {
    match command {
        Provider::List => provider::list::list(ctx).await,
        Provider::Show(names) => provider::show::show(ctx, names).await,
        Provider::Check(args) => provider::check::check(ctx, args).await,
        Provider::Install(args) => provider::hooks::install(ctx, args).await,
        Provider::Uninstall(args) => provider::hooks::uninstall(ctx, args).await,
    }
}

async fn run_template(ctx: &Context, command: Template) -> Result<u8> {
    match command {
        Template::List => template::list::list(ctx).await,
        Template::Show(names) => template::show::show(ctx, names).await,
        Template::Check(args) => template::check::check(ctx, args).await,
    }
}

async fn run_daemon(ctx: &Context, command: DaemonCommand) -> Result<u8> {
    match command {
        DaemonCommand::Start => daemon::start(ctx).await,
        DaemonCommand::Stop => daemon::stop(ctx).await,
        DaemonCommand::Restart => daemon::restart(ctx).await,
        DaemonCommand::Status => status::status(ctx).await,
        DaemonCommand::Logs(args) => daemon::logs(ctx, &args).await,
    }
}

/// A command that stands for a program of the user's.
fn of_program(outcome: Result<u8>) -> Result<u8> {
    outcome.map_err(Failure::of_program)
}

/// What the daemon must have sent with an answer.
fn sent<T>(thing: Option<T>, what: &str) -> Result<T> {
    thing.ok_or_else(|| {
        Failure::new(
            outlast_client::v1::ErrorKind::Failed,
            format!("outlastd left out the {what} in its answer"),
        )
    })
}
