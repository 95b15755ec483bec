//! What the tests of notices begin with.

use outlast_model::{
    id::Id,
    session::{Session, SessionState},
};

/// A session that runs, of which nothing more is known.
pub(super) fn session() -> Session {
    Session {
        id: Id::random(),
        name: "a".parse().unwrap(),
        host: "h".to_owned(),
        cwd: None,
        command: vec!["cat".to_owned()],
        restart_command: None,
        state: SessionState::Running,
        run: 1,
        created_at: 0,
        started_at: None,
        pid: None,
        outcome: None,
        reason: None,
        size: (80, 24),
        stop_grace_ms: None,
        deleting: false,
        activity: None,
        activity_seq: 0,
        provider: None,
        template: None,
    }
}
