//! Between the model and the messages of the public protocol.
//!
//! Pure: what is not in the row (the link, lengths of live logs, attached terminals, the time) is handed in.

use outlast_client::v1;
use outlast_model::{
    activity::Doing,
    job::{Job, JobState, TimeMs},
    session::{Session, SessionState},
    sync::{Sync, SyncMode, SyncState},
};
use outlast_sync::engine::{self, State};
use prost_types::{Duration, Timestamp};

/// The OS identity that everything runs as which names no other: the login user.
pub const ADMIN: &str = "admin";

/// What a job's message says beyond its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobLive {
    /// The connection to its host.
    pub link: v1::Link,
    /// Length of its log now, where it is live or lost. Ended jobs carry it in their outcome.
    pub log_bytes: Option<u64>,
    /// The present wall-clock time.
    pub now: TimeMs,
}

/// What a session's message says beyond its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionLive {
    /// The connection to its host.
    pub link: v1::Link,
    /// How many terminals are attached.
    pub attached: u32,
    /// When its terminal was last written to. Absent: never, or not known.
    pub last_output: Option<TimeMs>,
}

/// What a sync's message says beyond its row.
#[derive(Debug, Clone, Copy)]
pub struct SyncLive<'a> {
    /// The connection to its host.
    link: v1::Link,
    /// What its engine shows. Absent: it has none.
    engine: Option<&'a engine::View>,
}

impl<'a> SyncLive<'a> {
    /// What an engine shows.
    #[must_use]
    pub fn of(engine: &'a engine::View, link: v1::Link) -> Self {
        let engine = Some(engine);
        Self { link, engine }
    }

    /// Without an engine.
    #[must_use]
    pub const fn unknown(link: v1::Link) -> Self {
        Self { link, engine: None }
    }
}

/// The message of a job.
#[must_use]
pub fn job(job: &Job, live: JobLive) -> v1::Job {
    let outcome = job.outcome.as_ref();
    let ended_at = outcome.map(|outcome| outcome.ended_at);
    let until = ended_at.or((job.state == JobState::Running).then_some(live.now));
    let log_bytes = outcome.map(|outcome| outcome.log_bytes).or(live.log_bytes);
    v1::Job {
        id: job.id.to_string(),
        name: job.name.as_ref().map(ToString::to_string),
        host: job.host.clone(),
        workspace: None,
        cwd: job.cwd.clone(),
        command: job.command.clone(),
        state: job_state(job.state).into(),
        exit_code: outcome.and_then(|outcome| outcome.exit_code),
        signal: outcome.and_then(|outcome| outcome.signal),
        link: live.link.into(),
        created_at: Some(timestamp(job.created_at)),
        started_at: job.started_at.map(timestamp),
        ended_at: ended_at.map(timestamp),
        duration_s: job
            .started_at
            .zip(until)
            .map(|(start, end)| seconds_between(start, end)),
        log_bytes,
        reason: job.reason.clone(),
        cpu_s: outcome.and_then(|outcome| outcome.cpu_us).map(seconds_of_micros),
        max_rss_bytes: outcome.and_then(|outcome| outcome.max_rss_bytes),
        dropped_bytes: outcome.map_or(0, |outcome| outcome.dropped_bytes),
        cancelling: job.is_cancelling(),
        timeout: job.timeout_ms.map(duration),
    }
}

/// The message of a session.
#[must_use]
pub fn session(session: &Session, live: SessionLive) -> v1::Session {
    let outcome = session.outcome.as_ref();
    let activity = session.activity.as_ref();
    v1::Session {
        id: session.id.to_string(),
        name: session.name.to_string(),
        host: session.host.clone(),
        workspace: None,
        agent: ADMIN.to_owned(),
        cwd: session.cwd.clone(),
        command: session.command.clone(),
        restart_command: session.restart_command.clone(),
        state: session_state(session.state).into(),
        exit_code: outcome.and_then(|outcome| outcome.exit_code),
        signal: outcome.and_then(|outcome| outcome.signal),
        activity: activity
            .map_or(v1::Activity::Unspecified, |activity| doing(activity.doing))
            .into(),
        activity_source: activity.map(|activity| activity.source.clone()),
        attached: live.attached,
        link: live.link.into(),
        pid: session.pid,
        created_at: Some(timestamp(session.created_at)),
        last_activity_at: live.last_output.map(timestamp),
        reason: session.reason.clone(),
        activity_since: activity.map(|activity| timestamp(activity.since)),
        activity_message: activity.and_then(|activity| activity.message.clone()),
        runs: session.run,
        started_at: session.started_at.map(timestamp),
        ended_at: outcome.map(|outcome| timestamp(outcome.ended_at)),
        activity_seq: (session.activity_seq > 0).then_some(session.activity_seq),
        template: session.template.clone(),
        provider: session.provider.clone(),
    }
}

/// What a session does, in the protocol's word.
#[must_use]
pub const fn doing(doing: Doing) -> v1::Activity {
    match doing {
        Doing::Starting => v1::Activity::Starting,
        Doing::Working => v1::Activity::Working,
        Doing::Waiting => v1::Activity::Waiting,
        Doing::Idle => v1::Activity::Idle,
        Doing::Error => v1::Activity::Error,
    }
}

/// The message of a sync.
#[must_use]
pub fn sync(sync: &Sync, live: SyncLive<'_>) -> v1::Sync {
    let seen = &sync.seen;
    let engine = live.engine;
    // Nothing is watched before it has begun and while it pauses.
    let watching = engine.filter(|view| !matches!(view.state, State::Starting | State::Paused));
    let problems = engine.map(|view| view.problems.iter().map(sync_problem).collect());
    v1::Sync {
        id: sync.id.to_string(),
        name: sync.name.to_string(),
        source: sync.source.clone(),
        host: sync.host.clone(),
        target: sync.place().to_owned(),
        mode: sync_mode(sync.mode).into(),
        state: sync_state(seen.state).into(),
        reason: seen.reason.clone(),
        message: seen.message.clone(),
        files: seen.files,
        bytes: seen.bytes,
        pending_files: seen.pending_files,
        pending_bytes: seen.pending_bytes,
        problems: problems.unwrap_or_default(),
        problem_count: seen.problem_count,
        last_synced_at: seen.synced_at.map(timestamp),
        link: live.link.into(),
        created_at: Some(timestamp(sync.created_at)),
        exclude: sync.exclude.clone(),
        no_gitignore: sync.no_gitignore,
        git_dir: sync.git_dir,
        limit_bytes: sync.limit_bytes,
        watch: watching.map(|view| {
            let polls = view.watch_problem.is_some();
            if polls { "polling" } else { "events" }.to_owned()
        }),
        watch_problem: watching.and_then(|view| view.watch_problem.clone()),
        progress: engine.and_then(|view| view.progress).map(|now| v1::SyncProgress {
            done_files: now.done_files,
            done_bytes: now.done_bytes,
            total_files: now.total_files,
            total_bytes: now.total_bytes,
            rate_bytes: now.rate_bytes,
        }),
    }
}

/// The message of a path that is not as it should be.
#[must_use]
pub fn sync_problem(problem: &outlast_sync::Problem) -> v1::SyncProblem {
    v1::SyncProblem {
        path: String::from_utf8_lossy(&problem.path).into_owned(),
        kind: problem.kind.word().to_owned(),
        message: problem.message.clone(),
    }
}

/// The message of what a sync would do.
#[must_use]
pub fn sync_preview(preview: &outlast_sync::Preview) -> v1::PreviewSyncResponse {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let paths = |paths: &outlast_sync::Paths| {
        Some(v1::SyncPaths {
            count: paths.count,
            some: paths.some.iter().map(text).collect(),
        })
    };
    v1::PreviewSyncResponse {
        target: text(&preview.target),
        target_exists: preview.exists,
        files: preview.files,
        bytes: preview.bytes,
        same: paths(&preview.same),
        differ: paths(&preview.differ),
        extra: paths(&preview.extra),
        problems: preview.problems.iter().map(sync_problem).collect(),
        problem_count: preview.problem_count,
    }
}

/// The word on the wire for a sync's state.
#[must_use]
pub fn sync_state(state: SyncState) -> v1::SyncState {
    match state {
        SyncState::Starting => v1::SyncState::Starting,
        SyncState::Scanning => v1::SyncState::Scanning,
        SyncState::Watching => v1::SyncState::Watching,
        SyncState::Pushing => v1::SyncState::Pushing,
        SyncState::Paused => v1::SyncState::Paused,
        SyncState::Halted => v1::SyncState::Halted,
        SyncState::Disconnected => v1::SyncState::Disconnected,
        SyncState::Error => v1::SyncState::Error,
    }
}

/// The word on the wire for what a sync does about what is gone.
#[must_use]
pub fn sync_mode(mode: SyncMode) -> v1::SyncMode {
    match mode {
        SyncMode::Mirror => v1::SyncMode::Mirror,
        SyncMode::Update => v1::SyncMode::Update,
    }
}

/// What a sync does about what is gone, from the wire; unspecified counts as mirror.
#[must_use]
pub fn sync_mode_of(mode: v1::SyncMode) -> SyncMode {
    match mode {
        v1::SyncMode::Unspecified | v1::SyncMode::Mirror => SyncMode::Mirror,
        v1::SyncMode::Update => SyncMode::Update,
    }
}

/// The word on the wire for a job's state.
#[must_use]
pub fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Queued => v1::JobState::Queued,
        JobState::Running => v1::JobState::Running,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
        JobState::Lost => v1::JobState::Lost,
    }
}

/// A job's state from the wire. `None`: unspecified.
#[must_use]
pub fn job_state_of(state: v1::JobState) -> Option<JobState> {
    match state {
        v1::JobState::Unspecified => None,
        v1::JobState::Queued => Some(JobState::Queued),
        v1::JobState::Running => Some(JobState::Running),
        v1::JobState::Succeeded => Some(JobState::Succeeded),
        v1::JobState::Failed => Some(JobState::Failed),
        v1::JobState::Cancelled => Some(JobState::Cancelled),
        v1::JobState::Lost => Some(JobState::Lost),
    }
}

/// The word on the wire for a session's state.
#[must_use]
pub fn session_state(state: SessionState) -> v1::SessionState {
    match state {
        SessionState::Creating => v1::SessionState::Creating,
        SessionState::Running => v1::SessionState::Running,
        SessionState::Exited => v1::SessionState::Exited,
        SessionState::Stopped => v1::SessionState::Stopped,
        SessionState::Broken => v1::SessionState::Broken,
        SessionState::Lost => v1::SessionState::Lost,
        SessionState::Unknown => v1::SessionState::Unknown,
    }
}

/// A session's state from the wire. `None`: unspecified.
#[must_use]
pub fn session_state_of(state: v1::SessionState) -> Option<SessionState> {
    match state {
        v1::SessionState::Unspecified => None,
        v1::SessionState::Creating => Some(SessionState::Creating),
        v1::SessionState::Running => Some(SessionState::Running),
        v1::SessionState::Exited => Some(SessionState::Exited),
        v1::SessionState::Stopped => Some(SessionState::Stopped),
        v1::SessionState::Broken => Some(SessionState::Broken),
        v1::SessionState::Lost => Some(SessionState::Lost),
        v1::SessionState::Unknown => Some(SessionState::Unknown),
    }
}

/// Milliseconds since 1970 as a protobuf time.
#[must_use]
pub fn timestamp(ms: TimeMs) -> Timestamp {
    let nanos = ms.rem_euclid(1000) * 1_000_000;
    Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// Milliseconds as a protobuf duration.
#[must_use]
pub fn duration(ms: u64) -> Duration {
    Duration {
        seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
    }
}

/// A time span as a protobuf duration, to the nanosecond.
#[must_use]
pub fn exact(span: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A protobuf duration in milliseconds, rounded up. `None`: negative, malformed or beyond what can be counted.
#[must_use]
pub fn millis(duration: Duration) -> Option<u64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    seconds.checked_mul(1000)?.checked_add(nanos.div_ceil(1_000_000))
}

/// Seconds from one wall-clock time to another; 0 when the clock was set back in between.
fn seconds_between(start: TimeMs, end: TimeMs) -> f64 {
    let ms = u64::try_from(end.saturating_sub(start)).unwrap_or(0);
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn seconds_of_micros(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_model::{id::Id, job::Outcome};
    use proptest::prelude::*;

    fn row(state: JobState) -> Job {
        Job {
            id: Id::random(),
            name: None,
            host: "local".to_owned(),
            cwd: None,
            command: vec!["true".to_owned()],
            state,
            created_at: 1_000,
            started_at: None,
            outcome: None,
            reason: None,
            timeout_ms: None,
            cancel_grace_ms: None,
        }
    }

    const LIVE: JobLive = JobLive {
        link: v1::Link::Up,
        log_bytes: Some(9),
        now: 10_000,
    };

    #[test]
    fn a_running_job_counts_until_now_and_an_ended_one_until_its_end() {
        let mut running = row(JobState::Running);
        running.started_at = Some(4_000);
        let message = job(&running, LIVE);
        assert_eq!(message.duration_s, Some(6.0));
        assert_eq!(message.log_bytes, Some(9));

        let mut ended = row(JobState::Failed);
        ended.started_at = Some(4_000);
        ended.outcome = Some(Outcome {
            exit_code: Some(7),
            ended_at: 4_500,
            log_bytes: 3,
            cpu_us: Some(1_500_000),
            ..Outcome::default()
        });
        let message = job(&ended, LIVE);
        assert_eq!(message.duration_s, Some(0.5));
        assert_eq!(message.log_bytes, Some(3));
        assert_eq!(message.cpu_s, Some(1.5));
        assert_eq!(message.exit_code, Some(7));
    }

    #[test]
    fn a_queued_job_has_no_duration_and_a_clock_set_back_gives_none_below_zero() {
        assert_eq!(job(&row(JobState::Queued), LIVE).duration_s, None);
        let mut running = row(JobState::Running);
        running.started_at = Some(20_000);
        assert_eq!(job(&running, LIVE).duration_s, Some(0.0));
    }

    #[test]
    fn a_job_is_cancelling_only_while_it_lives() {
        for (state, cancelling) in [
            (JobState::Queued, true),
            (JobState::Running, true),
            (JobState::Cancelled, false),
            (JobState::Succeeded, false),
        ] {
            let mut asked = row(state);
            asked.cancel_grace_ms = Some(1);
            assert_eq!(job(&asked, LIVE).cancelling, cancelling, "{state:?}");
        }
    }

    #[test]
    fn every_state_survives_the_wire() {
        for number in 0..10 {
            if let Ok(state) = v1::JobState::try_from(number)
                && let Some(known) = job_state_of(state)
            {
                assert_eq!(job_state(known), state);
            }
            if let Ok(state) = v1::SessionState::try_from(number)
                && let Some(known) = session_state_of(state)
            {
                assert_eq!(session_state(known), state);
            }
        }
    }

    proptest! {
        #[test]
        fn durations_survive_the_wire(ms in 0..u64::MAX / 2) {
            prop_assert_eq!(millis(duration(ms)), Some(ms));
        }

        #[test]
        fn no_duration_panics(seconds: i64, nanos: i32) {
            let read = millis(Duration { seconds, nanos });
            prop_assert!(seconds >= 0 || read.is_none());
        }

        #[test]
        fn times_are_well_formed(ms: i64) {
            let time = timestamp(ms);
            prop_assert!((0..1_000_000_000).contains(&time.nanos));
        }
    }
}
