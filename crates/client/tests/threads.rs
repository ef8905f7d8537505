//! A producer's threads end with it.

use std::time::{Duration, Instant};

use milena::{Producer, ProducerConfig, Record};
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

/// Names of this process's threads that belong to producers; none where the system does not tell.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("milena-")).collect()
}

#[test]
fn no_thread_outlives_its_producer() {
    let broker = Steered::start(1, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for closes in [true, false] {
        let config = ProducerConfig::new(&broker.bootstrap).on_delivery(|_| {});
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        runtime.block_on(async {
            orders.post_wait(Record::value("v")).await.expect("accepted");
            if closes {
                producer.close(Duration::from_secs(10)).await;
            }
        });
        if cfg!(target_os = "linux") && !closes {
            assert_eq!(threads().len(), 3, "driver, deadlines, reports: {:?}", threads());
        }
        drop((producer, orders));
        let start = Instant::now();
        while !threads().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(30), "{:?}", threads());
            std::thread::yield_now();
        }
    }
}
