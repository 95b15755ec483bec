//! What outlast itself puts on the screen of an attached session: one notice at a time, and the bell.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    notice::{self, Notice},
    pump::Aside,
    terminal,
};

/// How often the bell tells that input is refused; more only annoys.
const BELL_EVERY: Duration = Duration::from_secs(1);

/// Known to both directions of an attachment.
#[derive(Debug)]
pub struct Screen {
    aside: Aside,
    notice: RefCell<Option<Notice>>,
    rang: Cell<Option<Instant>>,
}

impl Screen {
    pub fn new(aside: Aside) -> Self {
        Self {
            aside,
            notice: RefCell::new(None),
            rang: Cell::new(None),
        }
    }

    /// Another notice, or none; the bytes that show it, or take the old one away.
    pub fn change(&self, notice: Option<Notice>) -> Option<Vec<u8>> {
        let bytes = match &notice {
            Some(notice) => Some(notice.show(terminal::size())),
            None => self
                .notice
                .borrow()
                .as_ref()
                .map(|_| notice::clear(terminal::size())),
        };
        self.notice.replace(notice);
        bytes
    }

    /// Shows a notice at once.
    pub fn show(&self, notice: Notice) {
        if let Some(bytes) = self.change(Some(notice)) {
            self.aside.say(&bytes);
        }
    }

    /// The bytes that show the present notice again, for when something was drawn over it.
    pub fn again(&self) -> Option<Vec<u8>> {
        self.notice
            .borrow()
            .as_ref()
            .filter(|notice| **notice != Notice::Help)
            .map(|notice| notice.show(terminal::size()))
    }

    /// The terminal has another size: the notice moves to its last row.
    pub fn resized(&self) {
        if let Some(bytes) = self.again() {
            self.aside.say(&bytes);
        }
    }

    /// True while the host is away.
    pub fn is_away(&self) -> bool {
        matches!(&*self.notice.borrow(), Some(Notice::Away { .. }))
    }

    /// True while it says that there is no connection to the daemon.
    pub fn is_cut_off(&self) -> bool {
        *self.notice.borrow() == Some(Notice::NoDaemon)
    }

    /// True while the escapes are shown.
    pub fn helps(&self) -> bool {
        *self.notice.borrow() == Some(Notice::Help)
    }

    /// Tells by the bell that what was typed is refused.
    pub fn refuse(&self) {
        let now = Instant::now();
        if self
            .rang
            .get()
            .is_none_or(|last| now.duration_since(last) >= BELL_EVERY)
        {
            self.rang.set(Some(now));
            self.aside.say(b"\x07");
        }
    }
}
