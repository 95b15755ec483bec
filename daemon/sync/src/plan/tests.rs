//! A plan, carried out on the record in memory, makes it equal to what is here.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;

/// What is at a path: its kind, mode and content.
type Tree = BTreeMap<RelPath, (Kind, u16, u8)>;

fn hash(content: u8) -> Hash {
    [content; 32]
}

fn seen((kind, mode, content): (Kind, u16, u8)) -> Seen {
    let (size, mtime_ns) = match kind {
        Kind::File => (u64::from(content), i64::from(content)),
        _ => (0, 0),
    };
    Seen {
        kind,
        mode: if kind == Kind::Link { 0 } else { mode },
        special_bits: false,
        key: StatKey {
            ino: u64::from(content),
            size,
            mtime_ns,
            ctime_ns: i64::from(content),
        },
    }
}

fn entry((kind, mode, content): (Kind, u16, u8)) -> Entry {
    match kind {
        Kind::File => Entry::file(mode, content.into(), content.into(), hash(content)),
        Kind::Dir => Entry::dir(mode),
        _ => Entry {
            hash: hash(content),
            ..Entry::link(&[content])
        },
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let kind = prop_oneof![4 => Just(Kind::File), 1 => Just(Kind::Link)];
    let mode = prop_oneof![Just(0o755_u16), Just(0o555), Just(0o644)];
    let leaf = ("[abc](/[abc]){0,3}", kind, mode, any::<u8>());
    proptest::collection::vec(leaf, 0..20).prop_map(|leaves| {
        let mut tree = Tree::new();
        for (path, kind, mode, content) in leaves {
            let path = RelPath::new(path.as_bytes()).expect("a path");
            let parents: Vec<RelPath> = parents(&path);
            let is_free = !tree.contains_key(&path)
                && parents
                    .iter()
                    .all(|dir| tree.get(dir).is_none_or(|(kind, ..)| *kind == Kind::Dir));
            if is_free {
                for dir in parents {
                    tree.entry(dir).or_insert((Kind::Dir, mode | 0o500, 0));
                }
                tree.insert(path, (kind, mode, content));
            }
        }
        tree
    })
}

fn parents(path: &RelPath) -> Vec<RelPath> {
    let mut parents = Vec::new();
    let mut at = path.parent().map(<[u8]>::to_vec);
    while let Some(dir) = at {
        let dir = RelPath::new(&dir).expect("a path");
        at = dir.parent().map(<[u8]>::to_vec);
        parents.push(dir);
    }
    parents.reverse();
    parents
}

/// Does what the plan says, as a host would: in order, and only what can be done.
fn carry_out(plan: &Plan, far: &mut BTreeMap<RelPath, Entry>) {
    let remove = |far: &mut BTreeMap<RelPath, Entry>, path: &RelPath| {
        let below = far
            .keys()
            .any(|other| other != path && is_at_or_below(other, path));
        assert!(!below, "{path:?} goes before what is in it");
        assert!(far.remove(path).is_some(), "{path:?} is not there");
    };
    for path in &plan.first {
        remove(far, path);
    }
    for put in &plan.puts {
        if let Some(dir) = put.path.parent() {
            let dir = RelPath::new(dir).expect("a path");
            assert_eq!(
                far.get(&dir).map(|entry| entry.kind),
                Some(Kind::Dir),
                "{:?} comes before its directory",
                put.path
            );
        }
        let made = match put.seen.kind {
            Kind::File => Entry::file(
                put.seen.mode,
                put.seen.key.mtime_ns,
                put.seen.key.size,
                put.hash.expect("every hash is known here"),
            ),
            Kind::Dir => Entry::dir(put.seen.mode | 0o700),
            _ => Entry {
                hash: put.hash.expect("every hash is known here"),
                ..Entry::link(&[u8::try_from(put.seen.key.ino).expect("a byte")])
            },
        };
        far.insert(put.path.clone(), made);
    }
    for path in &plan.last {
        remove(far, path);
    }
    for (path, seen) in &plan.modes {
        far.get_mut(path).expect("it was made").mode = seen.mode;
    }
}

fn planned(here: &Tree, far: &BTreeMap<RelPath, Entry>, scope: Option<&Scope>, mode: Mode) -> Plan {
    let in_scope = |path: &RelPath| {
        scope.is_none_or(|scope| {
            scope.entries.contains(path) || scope.trees.iter().any(|top| is_at_or_below(path, top))
        })
    };
    let table = here
        .iter()
        .filter(|(path, _)| in_scope(path))
        .map(|(path, what)| (path.clone(), seen(*what)))
        .collect();
    let far = far
        .iter()
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect();
    plan(&Ground {
        tree: &table,
        scope,
        unknown: &[],
        far: &far,
        mode,
        hash: &|path, _key| {
            let path = RelPath::new(path).expect("a path");
            here.get(&path).map(|(_, _, content)| hash(*content))
        },
        refused: &|_, _| false,
    })
}

fn record(tree: &Tree) -> BTreeMap<RelPath, Entry> {
    tree.iter()
        .map(|(path, what)| (path.clone(), entry(*what)))
        .collect()
}

proptest! {
    #[test]
    fn a_mirror_becomes_equal(before in tree(), after in tree()) {
        let mut far = record(&before);
        let made = planned(&after, &far, None, Mode::Mirror);
        carry_out(&made, &mut far);
        assert_eq!(far, record(&after));
        assert!(planned(&after, &far, None, Mode::Mirror).is_empty());
    }

    #[test]
    fn looking_at_what_changed_is_enough(before in tree(), after in tree()) {
        let mut far = record(&before);
        // As directories tell of changes: every name that came, went or changed.
        let names: BTreeSet<&RelPath> = before.keys().chain(after.keys()).collect();
        let trees = names
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path))
            .cloned()
            .collect();
        let scope = Scope { trees, entries: Vec::new() };
        let made = planned(&after, &far, Some(&scope), Mode::Mirror);
        carry_out(&made, &mut far);
        assert_eq!(far, record(&after));
    }

    #[test]
    fn an_update_removes_nothing(before in tree(), after in tree()) {
        let far = record(&before);
        let made = planned(&after, &far, None, Mode::Update);
        assert!(made.first.is_empty() && made.last.is_empty());
        assert_eq!(made.deletions, 0);
    }
}

#[test]
fn what_could_not_be_looked_at_stays() {
    let path = |bytes: &[u8]| RelPath::new(bytes).expect("a path");
    let before: Tree = [
        (path(b"a"), (Kind::Dir, 0o755, 0)),
        (path(b"a/x"), (Kind::File, 0o644, 1)),
        (path(b"b"), (Kind::File, 0o644, 2)),
    ]
    .into();
    let far = record(&before).into_iter().collect();
    let tree = [(path(b"a"), seen((Kind::Dir, 0o755, 0)))].into_iter().collect();
    let made = plan(&Ground {
        tree: &tree,
        scope: None,
        unknown: &[path(b"a")],
        far: &far,
        mode: Mode::Mirror,
        hash: &|_, _| None,
        refused: &|_, _| false,
    });
    assert_eq!(made.last, [path(b"b")]);
    assert!(made.puts.is_empty());
}
