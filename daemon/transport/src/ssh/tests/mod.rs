//! The library carrier against a real sshd.

mod bed;
mod bytes;
mod hosts;
mod logins;
mod peers;
