use super::*;

fn identity(name: &str, private: bool) -> Identity {
    Identity {
        file: format!("/k/{name}").into(),
        public: Some(name.as_bytes().to_vec()),
        encrypted: private.then_some(false),
        certified: false,
    }
}

fn in_agent(name: &str) -> AgentKey {
    AgentKey {
        public: name.as_bytes().to_vec(),
        comment: name.to_owned(),
    }
}

/// The order of the keys: `agent:name` or `file:name`.
fn order(settings: &Settings, named: &[&str], keys: &[AgentKey]) -> Vec<String> {
    let named: Vec<PathBuf> = named.iter().map(|name| format!("/k/{name}").into()).collect();
    let name = |offer: &Offer<'_>| match offer {
        Offer::Agent(key) => format!("agent:{}", key.comment),
        Offer::File(identity) => format!("file:{}", identity.file.file_name().unwrap().display()),
    };
    offers(settings, &named, keys).iter().map(name).collect()
}

#[test]
fn keys_are_offered_in_the_order_of_openssh() {
    let mut settings = Settings {
        identities: vec![identity("a", true), identity("b", true), identity("c", false)],
        ..Settings::default()
    };
    assert_eq!(order(&settings, &[], &[]), ["file:a", "file:b"]);
    let keys = ["x", "c", "b"].map(in_agent);
    // Those that are meant first, then the agent's others, then files.
    assert_eq!(
        order(&settings, &[], &keys),
        ["agent:c", "agent:b", "agent:x", "file:a"]
    );
    // What was named for the host comes before all.
    assert_eq!(
        order(&settings, &["a"], &keys),
        ["file:a", "agent:c", "agent:b", "agent:x"]
    );
    assert_eq!(
        order(&settings, &["b"], &keys),
        ["agent:b", "agent:c", "agent:x", "file:a"]
    );
    settings.identities_only = true;
    assert_eq!(order(&settings, &[], &keys), ["agent:c", "agent:b", "file:a"]);
}

#[test]
fn a_public_half_means_the_whole() {
    assert!(is_of(Path::new("/k/a"), Path::new("/k/a")));
    assert!(is_of(Path::new("/k/a.pub"), Path::new("/k/a")));
    assert!(!is_of(Path::new("/k/b.pub"), Path::new("/k/a")));
    assert!(!is_of(Path::new("/k/a"), Path::new("/k/a.pub")));
}
