//! Room for what outlast needs at the far end.

use outlast_testkit::{DEADLINE, Namespace, Sandbox};

use crate::bed::{Entrance, add, behind, names};

#[test]
fn a_full_disk_there_is_one_clear_error_and_nothing_is_left_half_written() {
    let sandbox = Sandbox::new();
    let entrance = Entrance::new(&sandbox);
    let sshd = behind(&entrance, &sandbox);
    let disk = "mount -t tmpfs -o size=1m,mode=0700 outlast-test \"$1/far/cache\"";
    let namespace = Namespace::new(&sandbox, disk);
    entrance.lead(&sandbox, &namespace);
    let refused = sandbox.outlast(&["host", "add", "far", "far"]).code(6);
    println!("{refused}");
    assert!(refused.err().contains("no room"), "{refused}");
    let there = |name: &str, args: &[&str]| namespace.run(&sandbox, DEADLINE, name, args).success();
    let cache = sshd.cache().display().to_string();
    let found = there("find", &[&cache, "-type", "f"]);
    assert_eq!(found.out(), "", "half a helper stays: {found}");
    drop(there("mount", &["-o", "remount,size=200m", &cache]));
    add(&sandbox);
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
    assert_eq!(names(&sshd.cache()).len(), 0, "it was written outside");
}
