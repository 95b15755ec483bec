//! Everything that can be in the helper's way.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use outlast_testkit::{far_helper, wait_until, write_program};
use outlast_transport::{connect::Purpose, error::Cause};

use crate::bed::{Bed, DEADLINE, connected, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_helper_is_sent_once() {
    let bed = Bed::new();
    for (purpose, told) in [(Purpose::Control, "sent, "), (Purpose::Bulk, "it is there")] {
        let mut attempt = bed.attempt(bed.command("exec sh"));
        attempt.purpose = purpose;
        drop(connected(attempt).await);
        assert!(bed.helper_step().starts_with(told), "{}", bed.helper_step());
    }
    // Whole, alone, and nobody else's.
    let files: Vec<_> = fs::read_dir(bed.helpers()).unwrap().flatten().collect();
    let names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    assert_eq!(names, [bed.name().as_str()]);
    let (sent, here) = (
        fs::read(files[0].path()).unwrap(),
        fs::read(far_helper()).unwrap(),
    );
    assert!(sent == here);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let dir = bed.helpers().metadata().unwrap().permissions().mode();
    assert_eq!(dir & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_first_connections_at_once_do_not_disturb_each_other() {
    let bed = Bed::new();
    let one = connected(bed.attempt(bed.command("exec sh")));
    let other = connected(bed.attempt(bed.command("exec sh")));
    drop(tokio::join!(one, other));
    assert_eq!(fs::read_dir(bed.helpers()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_head_takes_it_too() {
    let bed = Bed::new();
    let path = bed.path().join("path");
    fs::create_dir(&path).unwrap();
    for name in ["sh", "uname", "mkdir", "chmod", "rm", "mv", "sleep"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), path.join(name)).unwrap();
    }
    // A real one takes a byte at a time, and minutes for a helper that was not made small.
    write_program(
        &path.join("dd"),
        "#!/bin/sh\nIFS='= '; set -- $*\n[ \"$1 $2 $3\" = 'bs 1 count' ] && exec /usr/bin/head -c \"$4\"\n",
    );
    let script = "PATH=$ROOT/path exec sh";
    drop(connected(bed.attempt(bed.command(script))).await);
    assert!(bed.helper_step().starts_with("sent, "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_damaged_is_thrown_away() {
    let mut bed = Bed::new();
    let library = bed.path().join("library");
    fs::create_dir(&library).unwrap();
    let file = library.join("outlast-helper");
    fs::copy(far_helper(), &file).unwrap();
    bed.libraries = vec![library];
    drop(connected(bed.attempt(bed.command("exec sh"))).await);
    fs::remove_dir_all(bed.helpers()).unwrap();
    // As a bad disk or a bad line would do it: nobody notices but by the hash.
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    File::open(&file).unwrap().set_modified(modified).unwrap();
    let error = refused(bed.attempt(bed.command("exec sh"))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(error.message.contains("damaged"), "{error}");
    assert_eq!(fs::read_dir(bed.helpers()).unwrap().count(), 0);
}

/// What makes a mount namespace, also for those who are not root.
fn unshare() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "unshare --mount"
    } else {
        "unshare --user --map-root-user --mount"
    }
}

/// A host whose cache directory is another file system.
fn mounted(options: &str) -> String {
    let unshare = unshare();
    format!("exec {unshare} -- sh -c 'mount -t tmpfs -o {options} none \"$XDG_CACHE_HOME\" && exec sh'")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let bed = Bed::new();
    let listing = "exec sh";
    let script = mounted("size=1m").replace(listing, "sh; find \"$XDG_CACHE_HOME\" -type f >\"$ROOT/left\"");
    let error = refused(bed.attempt(bed.command(&script))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(error.message.contains("no room"), "{error}");
    assert!(error.hint.unwrap().contains("space"));
    let left = bed.path().join("left");
    wait_until(DEADLINE, "the end of the far shell", || {
        fs::read_to_string(&left).ok()
    });
    assert_eq!(fs::read_to_string(&left).unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_nothing_may_run_from_is_told() {
    let bed = Bed::new();
    let error = refused(bed.attempt(bed.command(&mounted("size=100m,noexec")))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(error.message.contains("lets no program run"), "{error}");
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("noexec") && hint.contains("XDG_CACHE_HOME"),
        "{hint}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_directory_that_cannot_be_made_is_told() {
    let bed = Bed::new();
    // A file in the way stops root too.
    fs::write(bed.path().join("cache/outlast"), "").unwrap();
    let error = refused(bed.attempt(bed.command("exec sh"))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(
        error.message.contains("cannot be made") && error.message.contains("directory"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_home_is_told() {
    let bed = Bed::new();
    for script in [
        "unset HOME XDG_CACHE_HOME; exec sh",
        "HOME=; XDG_CACHE_HOME=; exec sh",
    ] {
        let error = refused(bed.attempt(bed.command(script))).await;
        assert_eq!(error.cause, Cause::HelperFailed);
        assert!(error.message.contains("no home"), "{error}");
    }
    let script = "HOME=$ROOT/home XDG_CACHE_HOME=relative exec sh";
    drop(connected(bed.attempt(bed.command(script))).await);
    assert!(
        bed.path()
            .join("home/.cache/outlast/helper")
            .join(bed.name())
            .is_file()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_platform_is_told_with_what_there_is() {
    let mut bed = Bed::new();
    // A helper for this architecture and no other, whatever else was built.
    let library = bed.path().join("library");
    fs::create_dir(&library).unwrap();
    fs::copy(far_helper(), library.join("outlast-helper")).unwrap();
    bed.libraries = vec![library];
    let path = bed.path().join("path");
    fs::create_dir(&path).unwrap();
    for (platform, hint) in [
        ("Linux riscv64", "x86_64 or aarch64"),
        ("FreeBSD amd64", "x86_64 or aarch64"),
        ("Linux arm64", "install outlast-helper-aarch64-linux-musl"),
    ] {
        write_program(&path.join("uname"), &format!("#!/bin/sh\necho {platform}\n"));
        let script = "PATH=$ROOT/path:$PATH exec sh";
        let error = refused(bed.attempt(bed.command(script))).await;
        assert_eq!(error.cause, Cause::Unsupported);
        assert!(error.message.contains(platform), "{error}");
        assert!(error.message.contains(std::env::consts::ARCH), "{error}");
        assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_that_does_not_run_there_is_told() {
    let mut bed = Bed::new();
    let library = bed.path().join("library");
    fs::create_dir(&library).unwrap();
    write_program(&library.join("outlast-helper"), "#!/no/such/interpreter\n");
    bed.libraries = vec![library];
    let error = refused(bed.attempt(bed.command("exec sh"))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(error.message.contains("does not run"), "{error}");
    assert_eq!(fs::read_dir(bed.helpers()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installed_helper_that_broke_is_told() {
    let bed = Bed::new();
    fs::create_dir_all(bed.helpers()).unwrap();
    for shell in ["dash", "bash"] {
        write_program(&bed.helpers().join(bed.name()), "#!/no/such/interpreter\n");
        let script = format!(
            "exec {} -- sh -c 'mount --bind \"$(command -v {shell})\" /bin/sh && exec {shell}'",
            unshare()
        );
        let error = refused(bed.attempt(bed.command(&script))).await;
        assert_eq!(error.cause, Cause::HelperFailed, "{shell}");
        assert!(error.message.contains("could not be started"), "{shell}: {error}");
        assert!(error.hint.unwrap().contains("cache"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_of_start_files_is_passed_over() {
    let bed = Bed::new();
    for present in [false, true] {
        let script = "head -c 31000 /dev/zero | tr '\\0' x; exec sh";
        drop(connected(bed.attempt(bed.command(script))).await);
        assert_eq!(bed.helper_step() == "it is there", present);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_without_end_is_told() {
    let bed = Bed::new();
    let error = refused(bed.attempt(bed.command("exec yes"))).await;
    assert_eq!(error.cause, Cause::HelperFailed);
    assert!(error.message.contains("without end"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_answers_and_is_no_shell_is_quoted() {
    let bed = Bed::new();
    for (script, said) in [
        ("echo this account is for mail only", "for mail only"),
        ("echo go away >&2; exit 3", "go away"),
        ("exit 7", "exit status: 7"),
    ] {
        let error = refused(bed.attempt(bed.command(script))).await;
        assert_eq!(error.cause, Cause::HelperFailed);
        assert!(
            error.message.contains("nothing that looks like a shell"),
            "{error}"
        );
        assert!(error.message.contains(said), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_not_there_is_told() {
    let bed = Bed::new();
    let argv = vec!["/no/such/program".to_owned()];
    let error = refused(bed.attempt(outlast_transport::route::Route::Command(argv))).await;
    assert_eq!(error.cause, Cause::Misconfigured);
    assert!(error.message.contains("/no/such/program"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_helpers_go_when_nobody_uses_them() {
    let bed = Bed::new();
    bed.install(&bed.helpers());
    let day = Duration::from_secs(24 * 60 * 60);
    let old = |name: &str, age: Duration| {
        let path = bed.helpers().join(name);
        fs::copy("/bin/sleep", &path).unwrap();
        File::open(&path)
            .unwrap()
            .set_modified(SystemTime::now() - age)
            .unwrap();
        path
    };
    let unused = old("outlast-helper-00000000000000aa", 31 * day);
    let young = old("outlast-helper-00000000000000bb", 29 * day);
    let running = old("outlast-helper-00000000000000cc", 31 * day);
    let foreign = old("something-else", 99 * day);
    let (leftover, arriving) = (old(".new-1", 2 * day), old(".new-2", day / 2));
    let own = bed.helpers().join(bed.name());
    File::open(&own)
        .unwrap()
        .set_modified(SystemTime::now() - 40 * day)
        .unwrap();
    let mut sleeper = std::process::Command::new(&running).arg("600").spawn().unwrap();

    let connection = connected(bed.attempt(bed.command("exec sh"))).await;
    wait_until(DEADLINE, "the sweep", || {
        (!unused.exists() && !leftover.exists()).then_some(())
    });
    let fresh =
        |path: &std::path::Path| path.metadata().unwrap().modified().unwrap().elapsed().unwrap() < day;
    wait_until(DEADLINE, "the note that it is used", || {
        (fresh(&own) && fresh(&running)).then_some(())
    });
    assert!(young.exists() && foreign.exists() && arriving.exists());
    drop(connection);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}
