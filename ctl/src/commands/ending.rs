//! Verbs that end things: all are asked to end first, then each is waited for.
//!
//! A thing whose host is away is not waited for: the wish is kept and done when the host is back. Where nothing of it is
//! on the host yet, it needs no host to end.

use std::{future::Future, time::Duration};

use outlast_client::v1;

use crate::{
    cli::UntilEnded,
    context::{Context, FirstCode},
    error::{Failure, Result},
    follow::{away_for_now, waiting},
};

/// What an end may take beyond the grace: the kernel ending a large program, a busy disk. More is worth a word.
const MARGIN: Duration = Duration::from_secs(15);

/// How the words for a verb are made.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// The noun, as it is typed.
    pub noun: &'static str,
    /// What the verb does to it: "stopped", "cancelled".
    pub done: &'static str,
}

/// Something that was asked to end.
pub trait Thing {
    /// Its id.
    fn id(&self) -> &str;
    /// What people call it.
    fn title(&self) -> String;
    /// What is typed to mean it.
    fn handle(&self) -> &str;
    /// Where it runs, and the link to that. None while nothing of it is there, so that it ends without.
    fn host(&self) -> Option<(&str, v1::Link)>;
}

/// The things of one call that are still to end.
#[derive(Debug)]
pub struct Ending<T> {
    words: Words,
    until: UntilEnded,
    grace: Duration,
    things: Vec<T>,
    first: FirstCode,
}

impl<T: Thing> Ending<T> {
    pub fn new(words: Words, until: UntilEnded, grace: Duration) -> Self {
        Self {
            words,
            until,
            grace,
            things: Vec::new(),
            first: FirstCode::default(),
        }
    }

    /// Asks for the end of each; `ask` tells of those that [`Ending::asked`] gives back. What cannot be asked is told, and
    /// the first one's exit code is kept.
    ///
    /// # Errors
    /// When there is nobody to tell any more.
    pub async fn ask_all(
        &mut self,
        ctx: &Context,
        names: Vec<String>,
        ask: impl AsyncFn(String, &mut Self) -> Result<()>,
    ) -> Result<()> {
        for name in names {
            match ask(name, self).await {
                Ok(()) => {}
                Err(Failure::Closed) => return Err(Failure::Closed),
                Err(failure) => self.first.note(ctx.tell(failure)),
            }
        }
        Ok(())
    }

    /// Takes in one that was asked to end. Gives it back with the words to tell when it is not to be waited for.
    pub fn asked(&mut self, thing: T) -> Option<(T, String)> {
        let done = self.words.done;
        let away = thing
            .host()
            .and_then(|(host, link)| Some((host, away_for_now(link)?)));
        let words = match away {
            Some((host, link)) => format!("will be {done} when host {host} is back; it is away ({link})"),
            None if self.until.no_block => format!("is being {done}"),
            None => {
                self.things.push(thing);
                return None;
            }
        };
        Some((thing, words))
    }

    /// Waits for each that is still to end and tells what became of it. Gives back the exit code of all.
    pub async fn wait<F>(self, ctx: &Context, mut ended: impl FnMut(String, String) -> F) -> Result<u8>
    where
        F: Future<Output = Result<()>>,
    {
        let Words { noun, done } = self.words;
        if self.things.is_empty() {
            return Ok(self.first.get());
        }
        let handles: Vec<&str> = self.things.iter().map(Thing::handle).collect();
        let resume = format!("outlast {noun} wait {}", handles.join(" "));
        let what = match self.things.as_slice() {
            [thing] => format!("{noun} {} is still being {done}", thing.title()),
            _ => format!("the {noun}s are still being {done}"),
        };
        let limit = self.until.timeout.unwrap_or(self.grace.saturating_add(MARGIN));
        let all = async {
            for thing in &self.things {
                match ended(thing.id().to_owned(), resume.clone()).await {
                    Ok(()) => {}
                    Err(Failure::Closed) => return Err(Failure::Closed),
                    Err(failure) => self.first.note(ctx.tell(failure)),
                }
            }
            Ok(())
        };
        // On the heap: it is large, and part of several commands.
        Box::pin(waiting(ctx, Some(limit), &what, || resume.clone(), all)).await?;
        Ok(self.first.get())
    }
}
