//! What was found of providers.

use outlast_model::{
    host::{Host, Route},
    provider::Check,
};

use crate::fixture::{directory, open};

fn check(provider: &str, host: &str, at: i64, took_ms: Option<u64>) -> Check {
    Check {
        provider: provider.to_owned(),
        host: host.to_owned(),
        at,
        ok: took_ms.is_some(),
        path: Some("/usr/bin/tool".to_owned()),
        version: Some("1.2".to_owned()),
        problem: took_ms.is_none().then(|| "not set: KEY".to_owned()),
        took_ms,
        ..Check::default()
    }
}

#[tokio::test]
async fn the_last_look_is_kept_and_the_mean_of_all() {
    let dir = directory();
    let store = open(dir.path());
    for found in [
        check("b", "local", 1, Some(100)),
        check("b", "local", 2, Some(300)),
        check("b", "far", 3, Some(50)),
        check("a", "local", 4, None),
        check("b", "local", 5, None),
    ] {
        store.keep_check(&found).await.unwrap();
    }
    store.close().await.unwrap();
    let kept = open(dir.path()).checks().await.unwrap();
    let brief = |check: &Check| {
        let Check {
            provider,
            host,
            at,
            ok,
            ..
        } = check.clone();
        (provider, host, at, ok, check.mean_ms(), check.last_ok_at)
    };
    let expected = [
        ("a".to_owned(), "local".to_owned(), 4, false, None, None),
        ("b".to_owned(), "far".to_owned(), 3, true, Some(50), Some(3)),
        ("b".to_owned(), "local".to_owned(), 5, false, Some(200), Some(2)),
    ];
    assert_eq!(kept.iter().map(brief).collect::<Vec<_>>(), expected);
    assert_eq!(kept[2].problem.as_deref(), Some("not set: KEY"));
    assert_eq!(
        (kept[2].path.as_deref(), kept[2].version.as_deref()),
        (Some("/usr/bin/tool"), Some("1.2"))
    );
}

#[tokio::test]
async fn what_was_found_on_a_host_goes_with_it() {
    let dir = directory();
    let store = open(dir.path());
    let far = Host {
        name: "far".parse().unwrap(),
        route: Route::Command(vec!["sh".to_owned()]),
        created_at: 1,
        machine_id: None,
        seen: None,
    };
    store.add_host(&far, None).await.unwrap();
    store.keep_check(&check("a", "far", 1, Some(1))).await.unwrap();
    store.keep_check(&check("a", "local", 1, Some(1))).await.unwrap();
    store.remove_host("far", true, None).await.unwrap();
    let left = store.checks().await.unwrap();
    assert_eq!(
        left.iter().map(|check| check.host.as_str()).collect::<Vec<_>>(),
        ["local"]
    );
}
