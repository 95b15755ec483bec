//! Connections from the host.

use outlast_client::{
    helper_v1::{
        DialRequest, DialResponse, DialTo, PingRequest, TcpAddress, dial_request, dial_response::Event,
        dial_to::To,
    },
    v1::ErrorKind,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    bed::{Bed, DEADLINE, error},
    over_both,
};

over_both!(
    bytes_go_both_ways_and_each_end_closes_its_own,
    what_cannot_be_reached_says_why,
    much_goes_both_ways_at_once,
    who_leaves_closes_the_connection,
    a_stalled_reader_holds_up_its_own_connection_only,
);

pub struct Dialled {
    pub to: mpsc::Sender<DialRequest>,
    pub from: Streaming<DialResponse>,
}

pub async fn dial(bed: &mut Bed, to: To) -> Result<Dialled, Status> {
    let (sender, receiver) = mpsc::channel(4);
    let event = dial_request::Event::To(DialTo { to: Some(to) });
    sender.send(DialRequest { event: Some(event) }).await.unwrap();
    let from = bed.client.dial(ReceiverStream::new(receiver)).await?.into_inner();
    let mut dialled = Dialled { to: sender, from };
    assert_eq!(dialled.next().await, Some(Event::Connected(true)));
    Ok(dialled)
}

fn tcp(host: &str, port: u16) -> To {
    To::Tcp(TcpAddress {
        host: host.to_owned(),
        port: port.into(),
    })
}

impl Dialled {
    pub async fn say(&self, event: dial_request::Event) {
        self.to.send(DialRequest { event: Some(event) }).await.unwrap();
    }

    pub async fn send(&self, bytes: &[u8]) {
        self.say(dial_request::Event::Data(bytes.to_vec().into())).await;
    }

    /// What comes next. None: the stream ended.
    pub async fn next(&mut self) -> Option<Event> {
        let next = timeout(DEADLINE, self.from.message())
            .await
            .expect("nothing comes");
        next.unwrap().map(|response| response.event.unwrap())
    }

    /// Everything until the other end closes its side.
    pub async fn all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Some(Event::Data(bytes)) => all.extend_from_slice(&bytes),
                Some(Event::Eof(true)) => return all,
                other => panic!("{other:?} after {} bytes", all.len()),
            }
        }
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn bytes_go_both_ways_and_each_end_closes_its_own(mut bed: Bed) {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"hello ").await.unwrap();
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).await.unwrap();
            asked.reverse();
            stream.write_all(&asked).await.unwrap();
        }
    });
    // By name as well; one of its addresses may lead nowhere.
    for host in ["127.0.0.1", "localhost"] {
        let mut dialled = dial(&mut bed, tcp(host, port)).await.unwrap();
        dialled.send(b"ab").await;
        dialled.send(&[0, 255]).await;
        dialled.say(dial_request::Event::Eof(true)).await;
        assert_eq!(dialled.all().await, b"hello \xff\0ba");
        assert_eq!(dialled.next().await, None);
    }
    server.await.unwrap();
    // The other end may be done first.
    let (listener, port) = self::listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.shutdown().await.unwrap();
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).await.unwrap();
        asked
    });
    let mut dialled = dial(&mut bed, tcp("127.0.0.1", port)).await.unwrap();
    assert_eq!(dialled.all().await, b"");
    dialled.send(b"still here").await;
    drop(dialled.to);
    assert_eq!(server.await.unwrap(), b"still here");
    assert!(
        timeout(DEADLINE, dialled.from.message())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
}

async fn what_cannot_be_reached_says_why(mut bed: Bed) {
    let (listener, port) = listener().await;
    drop(listener);
    let refused = dial(&mut bed, tcp("127.0.0.1", port)).await.err().unwrap();
    let (kind, message) = error(&refused);
    assert_eq!(kind, ErrorKind::Failed);
    assert!(
        message.contains(&format!("127.0.0.1:{port}")) && message.contains("refused"),
        "{message}"
    );
    for (to, wanted) in [
        (tcp("no-such-name.invalid", 1), ErrorKind::Failed),
        (tcp("127.0.0.1", 0), ErrorKind::Usage),
        (
            To::Tcp(TcpAddress {
                host: "127.0.0.1".to_owned(),
                port: 70_000,
            }),
            ErrorKind::Usage,
        ),
        (To::Accepted(1), ErrorKind::NotFound),
    ] {
        let refused = dial(&mut bed, to.clone()).await.err().unwrap();
        assert_eq!(error(&refused).0, wanted, "{to:?}");
    }
}

async fn much_goes_both_ways_at_once(mut bed: Bed) {
    const PIECES: usize = 256;
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut into) = stream.split();
        tokio::io::copy(&mut from, &mut into).await.unwrap()
    });
    let mut dialled = dial(&mut bed, tcp("127.0.0.1", port)).await.unwrap();
    let piece: Vec<u8> = (0..64 << 10).map(|n| (n % 251) as u8).collect();
    let (to, sent) = (dialled.to.clone(), piece.clone());
    tokio::spawn(async move {
        for _ in 0..PIECES {
            let event = Some(dial_request::Event::Data(sent.clone().into()));
            to.send(DialRequest { event }).await.unwrap();
        }
        let event = Some(dial_request::Event::Eof(true));
        to.send(DialRequest { event }).await.unwrap();
    });
    let all = dialled.all().await;
    assert!(all == piece.repeat(PIECES), "{} bytes came back", all.len());
    assert_eq!(server.await.unwrap(), all.len() as u64);
}

async fn who_leaves_closes_the_connection(mut bed: Bed) {
    let (listener, port) = listener().await;
    let dialled = dial(&mut bed, tcp("127.0.0.1", port)).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    dialled.send(b"x").await;
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    drop(dialled);
    let mut rest = Vec::new();
    // It may be reset as well.
    let ended = timeout(DEADLINE, stream.read_to_end(&mut rest))
        .await
        .expect("it stays open");
    drop(ended);
    assert_eq!(rest, b"");
}

async fn a_stalled_reader_holds_up_its_own_connection_only(mut bed: Bed) {
    let (listener, port) = listener().await;
    let (told, mut written) = watch::channel(0_usize);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let piece = vec![7; 64 << 10];
        while stream.write_all(&piece).await.is_ok() {
            told.send_modify(|count| *count += piece.len());
        }
    });
    let dialled = dial(&mut bed, tcp("127.0.0.1", port)).await.unwrap();
    // Until nothing more is taken for a while; windows and socket buffers hold some megabytes.
    while timeout(std::time::Duration::from_millis(500), written.changed())
        .await
        .is_ok()
    {
        assert!(*written.borrow() < 64 << 20, "somebody keeps it all");
    }
    bed.client.ping(PingRequest {}).await.unwrap();
    drop(dialled);
    timeout(DEADLINE, server)
        .await
        .expect("the connection stays")
        .unwrap();
}
