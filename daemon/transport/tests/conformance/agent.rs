//! The socket for programs that want the user's ssh-agent.

use std::{
    io::{Read as _, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use outlast_client::{
    helper_v1::{
        ExecStart, ListenAgentRequest, ListenAgentResponse, dial_request, dial_to::To, exec_request,
        listen_agent_response::Event,
    },
    v1::ErrorKind,
};
use outlast_transport::HelperClient;
use tokio::{task::spawn_blocking, time::timeout};
use tonic::Streaming;

use crate::{
    bed::{Bed, DEADLINE, Way, error, within},
    dial::dial,
    exec::{finish, message, open_with},
    login, over_both,
};

over_both!(
    a_program_reaches_the_agent,
    programs_are_told_of_the_agent_once_it_is_offered,
    connections_that_nobody_takes_up_are_few_and_end,
    what_lies_in_its_place_is_left_alone,
);

struct Listening {
    path: PathBuf,
    from: Streaming<ListenAgentResponse>,
}

async fn listen(client: &mut HelperClient) -> Listening {
    let mut from = client
        .listen_agent(ListenAgentRequest {})
        .await
        .unwrap()
        .into_inner();
    let Some(Event::Path(path)) = from.message().await.unwrap().unwrap().event else {
        panic!("the path comes first");
    };
    Listening {
        path: path.into(),
        from,
    }
}

impl Listening {
    async fn accepted(&mut self) -> u64 {
        let next = timeout(DEADLINE, self.from.message()).await.expect("nobody came");
        match next.unwrap().unwrap().event.unwrap() {
            Event::Accepted(number) => number,
            other @ Event::Path(_) => panic!("{other:?}"),
        }
    }
}

/// What a program with the login environment has as its agent, one line.
async fn told(bed: &mut Bed) -> String {
    let start = ExecStart {
        command: ["sh", "-c", "echo ${SSH_AUTH_SOCK-none}"]
            .map(str::to_owned)
            .to_vec(),
        login: true,
        ..ExecStart::default()
    };
    let (_input, stream) = open_with(bed, message(exec_request::Event::Start(start))).await;
    String::from_utf8(finish(stream).await.stdout).unwrap()
}

/// Connects as a program would, asks, and answers with what it was answered.
fn ask(path: &Path, question: &'static [u8]) -> tokio::task::JoinHandle<Vec<u8>> {
    let path = path.to_owned();
    spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(question).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    })
}

async fn a_program_reaches_the_agent(mut bed: Bed) {
    let mut listening = listen(&mut bed.client).await;
    let file = std::fs::symlink_metadata(&listening.path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    for question in [b"one".as_slice(), b"another"] {
        let asked = ask(&listening.path, question);
        let mut dialled = dial(&mut bed, To::Accepted(listening.accepted().await))
            .await
            .unwrap();
        assert_eq!(dialled.all().await, question);
        dialled.send(b"answer to ").await;
        dialled.send(question).await;
        dialled.say(dial_request::Event::Eof(true)).await;
        assert_eq!(
            asked.await.unwrap(),
            [b"answer to ".as_slice(), question].concat()
        );
        assert_eq!(dialled.next().await, None);
    }
    // Each is taken up once.
    let _asked = UnixStream::connect(&listening.path).unwrap();
    let number = listening.accepted().await;
    let _dialled = dial(&mut bed, To::Accepted(number)).await.unwrap();
    let refused = dial(&mut bed, To::Accepted(number)).await.err().unwrap();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
}

async fn programs_are_told_of_the_agent_once_it_is_offered(bed: Bed) {
    let mut bed = bed.with_start_file("unset SSH_AUTH_SOCK").await;
    assert_eq!(told(&mut bed).await, "none\n");
    let listening = listen(&mut bed.client).await;
    let path = format!("{}\n", listening.path.display());
    assert_eq!(told(&mut bed).await, path);
    for kind in ["job", "session"] {
        let spec = login::spec(kind, "echo it is $SSH_AUTH_SOCK");
        let said = login::said(&mut bed, &spec).await;
        assert!(said.contains(&format!("it is {}", path.trim())), "{said}");
    }
    // What was started stays connected to that path, so it is named also while nobody listens.
    drop(listening);
    assert_eq!(told(&mut bed).await, path);
    // An agent of the user's own start files gives way only to one that is offered.
    let mut bed = bed.with_start_file("export SSH_AUTH_SOCK=/own").await;
    assert_eq!(told(&mut bed).await, "/own\n");
    let listening = listen(&mut bed.client).await;
    assert_eq!(told(&mut bed).await, format!("{}\n", listening.path.display()));
}

async fn connections_that_nobody_takes_up_are_few_and_end(mut bed: Bed) {
    let mut listening = listen(&mut bed.client).await;
    let path = listening.path.clone();
    let streams = spawn_blocking(move || -> Vec<UnixStream> {
        (0..80).map(|_| UnixStream::connect(&path).unwrap()).collect()
    });
    let mut last = 0;
    for _ in 0..64 {
        last = listening.accepted().await;
    }
    let streams = streams.await.unwrap();
    // The first waits for as long as was promised, and all are closed in the end.
    let ended = spawn_blocking(move || {
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    });
    ended.await.unwrap();
    let refused = dial(&mut bed, To::Accepted(last)).await.err().unwrap();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
    let asked = ask(&listening.path, b"again");
    let mut dialled = dial(&mut bed, To::Accepted(listening.accepted().await))
        .await
        .unwrap();
    assert_eq!(dialled.all().await, b"again");
    drop(dialled);
    assert_eq!(asked.await.unwrap(), b"");
}

async fn what_lies_in_its_place_is_left_alone(mut bed: Bed) {
    let path = bed.root.path().join("agent");
    std::fs::write(&path, "mine").unwrap();
    let refused = bed
        .client
        .listen_agent(ListenAgentRequest {})
        .await
        .err()
        .unwrap();
    let (kind, message) = error(&refused);
    assert_eq!(kind, ErrorKind::Failed);
    assert!(message.contains("no socket"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

/// A session keeps its path; whoever listens there now is the one it reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_helper_has_the_agent_socket() {
    within(async {
        let mut bed = Bed::new(Way::Command)
            .await
            .with_start_file("unset SSH_AUTH_SOCK")
            .await;
        let first = listen(&mut bed.client).await;
        // The first lives on meanwhile.
        let newer = bed.another().await;
        let old = std::mem::replace(&mut bed.client, newer.client.clone());
        let mut second = listen(&mut bed.client).await;
        assert_eq!(second.path, first.path);
        let asked = ask(&second.path, b"who");
        let number = second.accepted().await;
        let mut dialled = dial(&mut bed, To::Accepted(number)).await.unwrap();
        assert_eq!(dialled.all().await, b"who");
        dialled.send(b"second").await;
        dialled.say(dial_request::Event::Eof(true)).await;
        assert_eq!(asked.await.unwrap(), b"second");
        drop((dialled, first, old));

        // The end of the older one takes nothing from the newer one, however it ends.
        bed.end_helper().await;
        let asked = ask(&second.path, b"who");
        let mut dialled = dial(&mut bed, To::Accepted(second.accepted().await))
            .await
            .unwrap();
        assert_eq!(dialled.all().await, b"who");
        dialled.say(dial_request::Event::Eof(true)).await;
        assert_eq!(asked.await.unwrap(), b"");

        // A killed one leaves a socket behind at which nobody is, and the next one is found there again.
        bed.kill_helpers().await;
        let refused = UnixStream::connect(&second.path).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let newest = bed.another().await;
        bed.client = newest.client.clone();
        assert_eq!(told(&mut bed).await, format!("{}\n", second.path.display()));
        let mut third = listen(&mut bed.client).await;
        assert_eq!(third.path, second.path);
        let asked = ask(&third.path, b"who");
        let mut dialled = dial(&mut bed, To::Accepted(third.accepted().await))
            .await
            .unwrap();
        assert_eq!(dialled.all().await, b"who");
        drop(dialled);
        assert_eq!(asked.await.unwrap(), b"");
        let left: Vec<_> = std::fs::read_dir(bed.root.path())
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("agent"))
            .collect();
        assert_eq!(left, ["agent"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_path_moves_the_agent_socket_to_tmp() {
    within(async {
        let mut bed = Bed::local_in(&"deep/".repeat(30));
        let mut listening = listen(&mut bed.client).await;
        assert!(listening.path.starts_with("/tmp"), "{}", listening.path.display());
        let asked = ask(&listening.path, b"who");
        let mut dialled = dial(&mut bed, To::Accepted(listening.accepted().await))
            .await
            .unwrap();
        assert_eq!(dialled.all().await, b"who");
        drop(dialled);
        assert_eq!(asked.await.unwrap(), b"");
        std::fs::remove_file(&listening.path).unwrap();
    })
    .await;
}
