//! A client of the protocol that goes on across kills of the daemon.

use std::time::Duration;

use outlast_client::v1::{
    Error, ErrorKind, GetJobRequest, GetSessionRequest, Job, JobState, Session,
    job_service_client::JobServiceClient, session_service_client::SessionServiceClient,
};
use tokio::runtime::Runtime;
use tonic::{Response, Status, transport::Channel};

use crate::{Sandbox, wait_until};

/// A client of the protocol that asks again until it is answered, as every client should.
#[derive(Debug)]
pub struct Client<'a> {
    sandbox: &'a Sandbox,
    runtime: Runtime,
    patience: Duration,
}

impl<'a> Client<'a> {
    /// A client that asks again for so long.
    ///
    /// # Panics
    /// When the system gives no runtime.
    #[must_use]
    pub fn new(sandbox: &'a Sandbox, patience: Duration) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime can be had");
        Self {
            sandbox,
            runtime,
            patience,
        }
    }

    /// Calls until an answer comes; a connection that broke is no answer, an error of the daemon's is a failure.
    ///
    /// # Panics
    /// When the daemon refuses, or does not answer in time.
    pub fn call<T>(&self, mut attempt: impl AsyncFnMut(Channel) -> Result<Response<T>, Status>) -> T {
        let mut answer = None;
        self.until(async |channel| {
            answer = Some(attempt(channel).await?.into_inner());
            Ok(true)
        });
        answer.expect("an answer came")
    }

    /// Makes the same request twice, as a client does that did not hear the first answer.
    pub fn twice<T>(&self, mut attempt: impl AsyncFnMut(Channel) -> Result<Response<T>, Status>) {
        self.call(&mut attempt);
        self.call(attempt);
    }

    /// Attempts something until it says that it is done. A broken connection is made anew, with a daemon started
    /// where there is none.
    ///
    /// # Panics
    /// When the daemon refuses, or it is not done in time.
    pub fn until(&self, mut attempt: impl AsyncFnMut(Channel) -> Result<bool, Status>) {
        wait_until(self.patience, "an answer of the daemon", || {
            let done = self.once(&mut attempt)?;
            done.then_some(())
        });
    }

    /// Attempts something on one connection. None when that broke, or none could be made; a daemon was started then.
    ///
    /// # Panics
    /// When the daemon refuses.
    pub fn once<T>(&self, mut attempt: impl AsyncFnMut(Channel) -> Result<T, Status>) -> Option<T> {
        let Ok(channel) = self.runtime.block_on(self.sandbox.connect()) else {
            drop(self.sandbox.outlast(&["daemon", "start"]));
            return None;
        };
        match self.runtime.block_on(attempt(channel)) {
            Ok(done) => Some(done),
            Err(status) => {
                assert!(is_broken(&status), "the daemon refused: {status:?}");
                None
            }
        }
    }

    /// Waits for a state of a job.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn job(&self, id: &str, fits: impl Fn(JobState) -> bool) -> Job {
        wait_until(self.patience, &format!("the state of job {id}"), || {
            let answer = self.call(async |channel| {
                let request = GetJobRequest { job: id.to_owned() };
                JobServiceClient::new(channel).get_job(request).await
            });
            answer.job.filter(|job| fits(job.state()))
        })
    }

    /// Waits for a session to be as wanted.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn session(&self, name: &str, fits: impl Fn(&Session) -> bool) -> Session {
        let mut last = None;
        wait_until(self.patience, &format!("the state of session {name}"), || {
            let answer = self.call(async |channel| {
                let request = GetSessionRequest {
                    session: name.to_owned(),
                };
                SessionServiceClient::new(channel).get_session(request).await
            });
            let session = answer.session?;
            let text = format!("{:?}, run {}", session.state(), session.runs);
            if last.as_ref() != Some(&text) {
                println!("{name}: {text}");
                last = Some(text);
            }
            fits(&session).then_some(session)
        })
    }
}

/// True when the connection ended, and not the request.
fn is_broken(status: &Status) -> bool {
    Error::from_status(status)
        .is_none_or(|error| matches!(error.kind(), ErrorKind::Stopping | ErrorKind::Restarting))
}
