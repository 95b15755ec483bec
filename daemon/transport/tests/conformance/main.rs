//! What every way to reach a helper must give: the same answers, whether the helper is in this process, behind a command,
//! behind `ssh` or behind the ssh library. Every test runs over all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod adoption;
mod agent;
mod attach;
mod bed;
mod dial;
mod exec;
mod jobs;
mod leaving;
mod login;
mod screen;
mod sessions;
mod signs;
mod starting;
mod terminal;

/// Makes a test for every way to reach a helper of one function.
macro_rules! over_all {
    ($($name:ident),+ $(,)?) => {
        crate::over!(local, Local, $($name),+);
        crate::over!(command, Command, $($name),+);
        crate::over!(ssh, Ssh, $($name),+);
        crate::over!(ssh2, Ssh2, $($name),+);
    };
}
macro_rules! over {
    ($module:ident, $way:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let test = async {
                        super::$name(crate::bed::Bed::new(crate::bed::Way::$way).await).await;
                    };
                    crate::bed::within(test).await;
                }
            )+
        }
    };
}
/// As `over_all`, for what cannot be different by the way.
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        crate::over!(local, Local, $($name),+);
        crate::over!(command, Command, $($name),+);
    };
}
use {over, over_all, over_both};
