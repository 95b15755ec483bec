//! What every way to reach a helper must give: the same answers, whether the helper is in this process or behind a
//! program's standard input and output. Every test runs over both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod adoption;
mod attach;
mod bed;
mod exec;
mod jobs;
mod screen;
mod sessions;
mod starting;

/// Makes two tests of one function: over the local transport and over a program.
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        mod local {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::bed::within(super::$name(crate::bed::Bed::local())).await;
                }
            )+
        }
        mod program {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::bed::within(super::$name(crate::bed::Bed::program().await)).await;
                }
            )+
        }
    };
}
use over_both;
