//! Login shells of all kinds, and accounts that are less than a shell.

use std::fs;

use outlast_testkit::Sshd;
use outlast_transport::{
    error::Cause,
    route::{Route, SshCarrier, SshRoute},
};

use crate::bed::{Bed, connected, refused};

/// Both carriers, which hand a command over each in its own way.
const CARRIERS: [SshCarrier; 2] = [SshCarrier::Ssh, SshCarrier::Ssh2];

/// A host whose login shell is `shell`: sshd runs a command as `shell -c command`, and so does this.
fn host(bed: &Bed, shell: &str, carrier: SshCarrier) -> (Sshd, Route) {
    let sshd = bed
        .sshd()
        .option(&format!("ForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\""))
        .start();
    let client = bed.client();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    let route = SshRoute {
        carrier: Some(carrier),
        ..bed.ssh("far")
    };
    (sshd, Route::Ssh(route))
}

async fn serves(shell: &str) {
    for carrier in CARRIERS {
        let bed = Bed::new();
        let (_sshd, route) = host(&bed, shell, carrier);
        for told in ["sent, ", "it is there"] {
            drop(connected(bed.attempt(route.clone())).await);
            assert!(bed.helper_step().starts_with(told), "{}", bed.helper_step());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dash() {
    serves("dash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bash() {
    serves("bash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zsh() {
    serves("zsh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fish() {
    serves("fish").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcsh() {
    serves("tcsh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_start_file_is_passed_over() {
    let bed = Bed::new();
    let (sshd, route) = host(&bed, "bash -i", SshCarrier::Ssh2);
    fs::write(sshd.home().join(".bashrc"), "printf 'welcome to %0*d' 31000 7\n").unwrap();
    drop(connected(bed.attempt(route)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_shell_is_told() {
    for carrier in CARRIERS {
        let bed = Bed::new();
        let (_sshd, route) = host(&bed, "bash -r", carrier);
        let error = refused(bed.attempt(route)).await;
        assert_eq!(error.cause, Cause::HelperFailed);
        assert!(error.message.contains("restricted"), "{error}");
        assert!(error.hint.unwrap().contains("restricted shell"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_command_is_told() {
    let bed = Bed::new();
    let sshd = bed.sshd().option("ForceCommand echo only backups here").start();
    let client = bed.client();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    for carrier in CARRIERS {
        let route = SshRoute {
            carrier: Some(carrier),
            ..bed.ssh("far")
        };
        let error = refused(bed.attempt(Route::Ssh(route))).await;
        assert_eq!(error.cause, Cause::HelperFailed);
        assert!(error.message.contains("only backups here"), "{error}");
        assert!(error.hint.unwrap().contains("forced command"));
    }
}
