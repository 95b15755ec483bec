//! How fast it is, for whoever asks: `cargo nextest run -p outlast-helper --test syncs --run-ignored all speed`.

use std::time::Instant;

use crate::bed::{Batch, Bed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure, not a fact"]
async fn twenty_thousand_small_files() {
    const FILES: usize = 20_000;
    const BATCH: usize = 250;
    let bed = Bed::new();
    let mut stream = bed.open().await;
    let content = |number: usize| {
        let mut bytes = vec![number as u8; 4096];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let batches: Vec<_> = (0..FILES / BATCH)
        .map(|batch| {
            let dir = format!("dir{batch:04}");
            (0..BATCH).fold(Batch::new().dir(&dir), |made, file| {
                made.file(&format!("{dir}/file{file:05}"), content(batch * BATCH + file))
            })
        })
        .collect();
    let start = Instant::now();
    let count = batches.len();
    let mut waiting = 0;
    for batch in batches {
        stream.send(batch.event()).await;
        waiting += 1;
        if waiting > 8 {
            stream.done().await.unwrap();
            waiting -= 1;
        }
    }
    for _ in 0..waiting {
        stream.done().await.unwrap();
    }
    println!("{FILES} files in {count} batches: {:?}", start.elapsed());
    let start = Instant::now();
    stream.settle(false).await;
    println!("settled in {:?}", start.elapsed());
    let start = Instant::now();
    stream.end().await;
    println!("ended in {:?}", start.elapsed());
    let start = Instant::now();
    let stream = bed.open().await;
    println!(
        "opened again with {} entries in {:?}",
        stream.record.unwrap().len(),
        start.elapsed()
    );
}
