//! Removing ended jobs: directory, then spec, then row, so that a removal that was cut short is seen and done again.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use outlast_client::{
    helper_v1::DeleteJobRequest,
    v1::{self, Error, ErrorKind, PruneJobsResponse},
};
use outlast_model::{
    admission,
    host::{Removal, RemovalKind},
    id::Id,
    job::{Job, JobState, TimeMs},
};
use outlast_store::{Created, JobFilter, Recorded, Request, StoreError};
use prost::Message as _;

use super::Jobs;
use crate::{app::now_ms, hosts::LOCAL, refusal, rpc::status::failure};

/// Jobs that are read from the store at a time.
const PAGE: u32 = 500;

/// Which ended jobs are to go.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These, by name, id or prefix. Empty: all that fit the rest.
    pub jobs: Vec<String>,
    /// Only those in these states. Empty: any ended state.
    pub states: Vec<JobState>,
    /// Only those that ended longer ago than so many milliseconds.
    pub older_than_ms: Option<u64>,
}

/// Jobs whose rows go in one commit: enough that many go quickly, few enough that a kill leaves little half done.
const AT_ONCE: usize = 100;

impl Jobs {
    /// Removes ended jobs with their logs; with `dry_run` only says which. A repeated request removes what its first
    /// one chose and did not get to, and has its answer.
    ///
    /// # Errors
    /// When a named job is not there or lives, or a directory or row cannot be removed. What was removed before that
    /// stays removed; a repeat goes on.
    pub async fn prune(
        &self,
        selection: Selection,
        dry_run: bool,
        request: Option<Request>,
    ) -> Result<PruneJobsResponse, Error> {
        let Some(request) = request.filter(|_| !dry_run) else {
            let plan = self.plan(selection).await?;
            if !dry_run {
                self.remove(&plan.jobs).await?;
            }
            return Ok(plan);
        };
        let store = &self.app().store;
        if let Some(first) = store.find_request(&request).await.map_err(failure)? {
            return self.remove_again(first).await;
        }
        let plan = self.plan(selection).await?;
        // What is chosen is on disk before anything goes, so that whoever asks again gets the same.
        match store.record_request(&request, "", Some(&text(&plan))).await {
            Ok(Created::New(_)) => self.remove(&plan.jobs).await?,
            // Both at the same time.
            Ok(Created::Repeat(first)) => return self.remove_again(first).await,
            // This is what makes room again; should it be cut short, a repeat chooses anew.
            Err(StoreError::Full { .. }) => {
                self.remove(&plan.jobs).await?;
                let recorded = store.record_request(&request, "", Some(&text(&plan))).await;
                recorded.map_err(failure)?;
            }
            Err(error) => return Err(failure(error)),
        }
        Ok(plan)
    }

    /// Removes what ended so many days ago. The daemon does this now and then where the user configured it.
    ///
    /// # Errors
    /// As for [`Jobs::prune`].
    pub async fn prune_older_than_days(&self, days: u32) -> Result<(), Error> {
        let selection = Selection {
            older_than_ms: Some(u64::from(days) * 24 * 3600 * 1000),
            ..Selection::default()
        };
        self.prune(selection, false, None).await.map(drop)
    }

    /// What is to go, as the answer that says that it went.
    async fn plan(&self, selection: Selection) -> Result<PruneJobsResponse, Error> {
        let chosen = self.select(selection).await?;
        let bytes = |job: &Job| self.log_len(job).unwrap_or(0);
        Ok(PruneJobsResponse {
            freed_bytes: chosen.iter().map(bytes).sum(),
            jobs: chosen.iter().map(|job| self.message(job)).collect(),
        })
    }

    /// Sees to it that all went that an earlier request chose, and gives its answer.
    async fn remove_again(&self, first: Recorded) -> Result<PruneJobsResponse, Error> {
        let plan = first.outcome.as_deref().and_then(from_text).ok_or_else(|| {
            Error::new(
                ErrorKind::Failed,
                "what the first request of this id removed cannot be read",
            )
        })?;
        self.remove(&plan.jobs).await?;
        Ok(plan)
    }

    async fn select(&self, selection: Selection) -> Result<Vec<Job>, Error> {
        let before = selection.older_than_ms.map(|age| {
            let age = TimeMs::try_from(age).unwrap_or(TimeMs::MAX);
            now_ms().saturating_sub(age)
        });
        let states = if selection.states.is_empty() {
            ended_states()
        } else {
            selection.states
        };
        if selection.jobs.is_empty() {
            return self.select_all(states, before).await;
        }
        let mut chosen: Vec<Job> = Vec::new();
        for text in &selection.jobs {
            let job = self.resolve(text).await?;
            admission::prune(&job).map_err(|denial| refusal::denied(&denial, Some(job.id)))?;
            let known = chosen.iter().any(|other| other.id == job.id);
            if !known && states.contains(&job.state) && before.is_none_or(|before| ended_at(&job) < before) {
                chosen.push(job);
            }
        }
        Ok(chosen)
    }

    async fn select_all(&self, states: Vec<JobState>, before: Option<TimeMs>) -> Result<Vec<Job>, Error> {
        if let Some(live) = states.iter().find(|state| state.is_live()) {
            let message = format!("only ended jobs can be removed, and {live} ones have not ended");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let mut filter = JobFilter {
            states,
            ended_before: before,
            limit: PAGE,
            ..JobFilter::default()
        };
        let mut chosen = Vec::new();
        loop {
            let page = self.app().store.list_jobs(filter.clone()).await;
            let page = page.map_err(failure)?;
            chosen.extend(page.items);
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return Ok(chosen),
            }
        }
    }

    /// Removes all of these jobs. What is gone already is fine.
    async fn remove(&self, jobs: &[v1::Job]) -> Result<(), Error> {
        for some in jobs.chunks(AT_ONCE) {
            self.note_removals(some).await?;
            let mut ids = Vec::with_capacity(some.len());
            let mut problem = None;
            for job in some {
                match self.remove_files(job).await {
                    Ok(id) => ids.push(id),
                    Err(error) => {
                        problem = Some(error);
                        break;
                    }
                }
            }
            let removed = self.app().store.delete_jobs(&ids).await;
            removed.map_err(failure)?;
            if let Some(problem) = problem {
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Remembers which directories are to go on other machines. It is done when such a machine is there, whatever
    /// happens until then.
    async fn note_removals(&self, jobs: &[v1::Job]) -> Result<(), Error> {
        let mut by_host: BTreeMap<&str, Vec<Removal>> = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.host != LOCAL) {
            let removal = Removal {
                kind: RemovalKind::Job,
                id: id_of(job)?,
            };
            by_host.entry(&job.host).or_default().push(removal);
        }
        for (host, removals) in by_host {
            let noted = self.app().store.add_removals(host, &removals).await;
            noted.map_err(failure)?;
        }
        Ok(())
    }

    /// Removes directory and spec of one job; for one on another machine, the copy of its log.
    async fn remove_files(&self, job: &v1::Job) -> Result<Id, Error> {
        let id = id_of(job)?;
        let Some(host) = self.app().hosts.get(&job.host) else {
            return Err(refusal::not_found("host", &job.host));
        };
        let request = DeleteJobRequest { id: job.id.clone() };
        if host.is_local() {
            host.client().delete_job(request).await.map_err(failure)?;
        } else {
            let copy = host.spool().0.job(&job.id);
            crate::logs::blocking(move || copy.remove())
                .await
                .map_err(failure)?;
            if host.is_up() && host.client().delete_job(request).await.is_ok() {
                let done = self.app().store.removal_done(host.name(), id).await;
                done.map_err(failure)?;
            }
        }
        self.remove_spec(id).await.map_err(Error::from)?;
        Ok(id)
    }
}

fn id_of(job: &v1::Job) -> Result<Id, Error> {
    let id = job.id.parse::<Id>();
    id.map_err(|error| Error::new(ErrorKind::Failed, error.to_string()))
}

/// An answer as it is kept with its request.
fn text(plan: &PruneJobsResponse) -> String {
    BASE64_STANDARD.encode(plan.encode_to_vec())
}

fn from_text(text: &str) -> Option<PruneJobsResponse> {
    PruneJobsResponse::decode(BASE64_STANDARD.decode(text).ok()?.as_slice()).ok()
}

fn ended_states() -> Vec<JobState> {
    JobState::ALL
        .into_iter()
        .filter(|state| state.is_ended())
        .collect()
}

/// When a job ended; a lost one counts by its acceptance, as in the store's filter.
fn ended_at(job: &Job) -> TimeMs {
    job.outcome
        .as_ref()
        .map_or(job.created_at, |outcome| outcome.ended_at)
}
