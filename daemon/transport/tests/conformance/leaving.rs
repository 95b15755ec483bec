//! A helper whose connection ends, whatever is under way on it.

use std::{path::PathBuf, time::Duration};

use outlast_client::helper_v1::{
    AttachSessionRequest, AttachStart, DialRequest, DialTo, ExecRequest, ExecStart, ExecTerminal,
    ListenAgentRequest, Size, TcpAddress, attach_session_request, dial_request, dial_to::To, exec_request,
    exec_response, run_job_response,
};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    bed::{Bed, eventually, is_alive, kill, new_id, state, within},
    exec::{message, open_with},
};

/// How long a helper may take that has nobody any more, with some patience for a busy machine.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// A program that does not leave when told, on pipes or on a terminal, with another one in its group.
async fn stubborn(bed: &mut Bed, terminal: bool) -> (Vec<u32>, impl Sized + use<>) {
    let start = ExecStart {
        command: [
            "sh",
            "-c",
            "trap '' HUP TERM; sleep 600 & echo $$ $! .; while :; do wait; sleep 600; done",
        ]
        .map(str::to_owned)
        .to_vec(),
        cwd: "/".to_owned(),
        terminal: terminal.then(|| ExecTerminal {
            size: Some(Size {
                columns: 80,
                rows: 24,
            }),
            term: "vt100".to_owned(),
        }),
        ..ExecStart::default()
    };
    let (input, mut stream) = open_with(bed, message(exec_request::Event::Start(start))).await;
    let mut said = String::new();
    while !said.contains('.') {
        if let Some(exec_response::Event::Stdout(bytes)) = stream.message().await.unwrap().unwrap().event {
            said.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
    let pids = said
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    (pids, (input, stream))
}

/// Everything that can be open is open, and nobody lets go of it: the helper is told by the end of its input alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_leaves_when_its_input_ends_with_everything_open() {
    within(async {
        let mut bed = Bed::behind_cat().await;
        let [cat, helper, _] = bed.cats();
        let (pids, _exec) = stubborn(&mut bed, false).await;
        let (more, _shell) = stubborn(&mut bed, true).await;
        let pids = [pids, more].concat();

        let job = new_id();
        let request = bed.run_request(&job, "echo one; sleep 600", Some(0));
        let mut run = bed.client.run_job(request).await.unwrap().into_inner();
        let job = loop {
            if let Some(run_job_response::Event::Started(started)) =
                run.message().await.unwrap().unwrap().event
            {
                break started.pid;
            }
        };
        let (session, started) = bed.session("echo ready; sleep 600").await;
        let mut watching = bed.watch(&session).await;
        watching.until("the session", |now| now.in_tmux).await;
        let (type_in, requests) = mpsc::channel(4);
        let start = attach_session_request::Event::Start(AttachStart {
            id: session.clone(),
            size: Some(Size {
                columns: 80,
                rows: 24,
            }),
            term: "xterm".to_owned(),
            read_only: false,
            utf8: true,
        });
        type_in
            .send(AttachSessionRequest { event: Some(start) })
            .await
            .unwrap();
        let attached = bed
            .client
            .attach_session(ReceiverStream::new(requests))
            .await
            .unwrap();
        watching.until("somebody attached", |now| now.attached == 1).await;
        let _agent = bed.client.listen_agent(ListenAgentRequest {}).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_dial_in, requests) = {
            let (sender, receiver) = mpsc::channel(4);
            let to = To::Tcp(TcpAddress {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port().into(),
            });
            let event = Some(dial_request::Event::To(DialTo { to: Some(to) }));
            sender.send(DialRequest { event }).await.unwrap();
            (sender, receiver)
        };
        let _dialled = bed.client.dial(ReceiverStream::new(requests)).await.unwrap();

        assert!(
            pids.len() == 4 && pids.iter().all(|pid| is_alive(*pid)),
            "{pids:?}"
        );
        let begun = Instant::now();
        kill(cat);
        eventually("the end of the helper", || !is_alive(helper)).await;
        let took = begun.elapsed();
        eventually("the end of what it ran", || {
            !pids.iter().any(|pid| is_alive(*pid))
        })
        .await;
        assert!(took < LEAVES_WITHIN, "it took {took:?}");
        // What is to outlive it does.
        assert!(is_alive(job) && is_alive(started.pid));
        drop((run, attached, type_in, watching));
        bed.replace_helper(false).await;
        let now = bed
            .watch(&session)
            .await
            .until("the session", |now| now.in_tmux)
            .await;
        assert_eq!(state(&now).started, Some(started));
    })
    .await;
}

/// Nor does it wait for somebody to read what it has still to say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_leaves_whose_output_nobody_reads() {
    within(async {
        let bed = Bed::behind_cat().await;
        let [cat, helper, out] = bed.cats();
        let flood = ExecStart {
            command: [
                "sh",
                "-c",
                "echo $$ >flood.$$; mv flood.$$ flood; exec cat /dev/zero",
            ]
            .map(str::to_owned)
            .to_vec(),
            cwd: bed.dir.display().to_string(),
            ..ExecStart::default()
        };
        let mut streams = Vec::new();
        for _ in 0..3 {
            let (input, requests) = mpsc::channel(4);
            let start = exec_request::Event::Start(flood.clone());
            input.send(ExecRequest { event: Some(start) }).await.unwrap();
            let mut client = bed.client.clone();
            streams.push((input, client.exec(ReceiverStream::new(requests)).await.unwrap()));
        }
        let file: PathBuf = bed.dir.join("flood");
        eventually("the flood", || file.exists()).await;
        let pid = |pid: u32| rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid(out), rustix::process::Signal::STOP).unwrap();
        // What nobody reads any more fills up.
        let pipe = std::fs::File::open(format!("/proc/{out}/fd/0")).unwrap();
        let room = rustix::pipe::fcntl_getpipe_size(&pipe).unwrap() as u64;
        let unread = || rustix::io::ioctl_fionread(&pipe).unwrap();
        eventually("output that nobody reads", || unread() > room / 4 * 3).await;
        let flood: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let begun = Instant::now();
        kill(cat);
        eventually("the end of the helper", || !is_alive(helper)).await;
        let took = begun.elapsed();
        kill(out);
        eventually("the end of the flood", || !is_alive(flood)).await;
        assert!(took < LEAVES_WITHIN, "it took {took:?}");
    })
    .await;
}
