//! What comes from the far end of an attached session, on its way to the screen.

use outlast_client::{
    client::ClientError,
    v1::{self, AttachSessionRequest, AttachSessionResponse, attach_session_response::Event as Output},
};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{message_of_size, news::News, screen::Screen};
use crate::{
    error::Result,
    follow::{Patience, away, cut},
    notice::Notice,
    pump::{self, Pump},
    terminal::Raw,
};

/// What comes from the daemon, and where it goes.
pub(super) struct Shown<'a> {
    pub(super) host: &'a str,
    pub(super) messages: &'a mut Streaming<AttachSessionResponse>,
    pub(super) pump: &'a mut Pump,
    pub(super) screen: &'a Screen,
    pub(super) news: &'a mut News,
    pub(super) patience: &'a mut Patience,
    pub(super) raw: &'a mut Raw,
    pub(super) send: &'a mpsc::Sender<AttachSessionRequest>,
}

impl Shown<'_> {
    /// Shows what comes until the end is announced.
    pub(super) async fn until_end(&mut self) -> Result<std::result::Result<v1::AttachEnd, ClientError>> {
        loop {
            match self.messages.message().await {
                Ok(Some(message)) => {
                    if let Some(end) = self.one(message).await? {
                        return Ok(Ok(end));
                    }
                }
                Ok(None) => return Ok(Err(cut())),
                Err(status) => return Ok(Err(status.into())),
            }
        }
    }

    /// Shows one message. An end is given back.
    pub(super) async fn one(&mut self, message: AttachSessionResponse) -> Result<Option<v1::AttachEnd>> {
        self.patience.renew();
        match message.event {
            Some(Output::Output(bytes)) => {
                self.raw.in_use();
                self.news.passed(&bytes);
                self.pump.write(pump::Output::Stdout, bytes).await?;
                self.put(self.screen.again()).await?;
                self.tell_news().await?;
            }
            Some(Output::Link(link)) => match away(link.link()) {
                Some(_) => {
                    let notice = Notice::Away {
                        host: self.host.to_owned(),
                        link: link.link(),
                        error: link.error,
                    };
                    self.put(self.screen.change(Some(notice))).await?;
                }
                None => {
                    self.put(self.screen.change(None)).await?;
                    // It may have changed while nobody heard.
                    let _ = self.send.try_send(message_of_size());
                }
            },
            Some(Output::Notice(notice)) => {
                self.news.add(&notice);
                self.tell_news().await?;
            }
            Some(Output::End(end)) => {
                // The tmux client at the other end has left and tidied up.
                self.raw.tidy();
                return Ok(Some(end));
            }
            Some(Output::Opened(_)) | None => {}
        }
        Ok(None)
    }

    /// Tells the terminal what came, where that disturbs nothing.
    async fn tell_news(&mut self) -> Result<()> {
        match self.news.take() {
            Some(bytes) => self.pump.write(pump::Output::Stdout, bytes.into()).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, bytes: Option<Vec<u8>>) -> Result<()> {
        match bytes {
            Some(bytes) => {
                self.raw.in_use();
                self.pump.write(pump::Output::Stdout, bytes.into()).await
            }
            None => Ok(()),
        }
    }
}
