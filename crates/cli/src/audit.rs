//! `milena audit`: every outcome that a producer told is proved by the log, or refuted.
//!
//! In this order: the outcomes are read, so that all they tell of is in the log by then; the topics are looked up; their
//! records are read and compared; what follows is told. Nothing is changed anywhere.

mod checker;
mod explain;
mod ledger;
mod line;
mod log;
mod reading;
mod report;
#[cfg(test)]
mod tests;
mod verdicts;

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use self::log::Topics;
use self::reading::Outcomes;
use self::report::Report;
use crate::arguments::Audit;
use crate::exit::{Exit, Failure, interrupted};
use crate::interrupts::Interrupts;
use crate::place::{Missing, Place};
use crate::progress::{self, Counting};
use crate::settings::Reach;

pub async fn run(options: &Audit, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    for (place, path) in options.files.iter().enumerate() {
        if options.files[..place].contains(path) {
            return Err(Failure::to_start(format!("{} is named twice", path.display())));
        }
        if path.to_str() != Some("-") {
            reading::open(path).map_err(Failure::to_start)?;
        }
    }
    let reach = options.settings.reach(&options.place)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(&reach.place, Missing::Refuse)).await else {
        return Ok(interrupted("before a broker was there: nothing was audited"));
    };
    let place = place?;
    let exit = match interrupts.unless_pressed(audit(&place, &reach, options)).await {
        Ok(exit) => exit,
        Err(_) => Ok(interrupted("before the end: nothing is told of the outcomes")),
    };
    place.leave(interrupts).await;
    exit
}

async fn audit(place: &Place, reach: &Reach, options: &Audit) -> Result<Exit, Failure> {
    // A mistake in the address is told before a long file is read.
    let mut admin = place.admin(&reach.client_id, reach.deadline).await?;
    let Outcomes { ledger, bad, unfinished } = outcomes(options).await?;
    let topics = Topics::look_up(&mut admin, &ledger).await?;
    let records = Arc::new(AtomicU64::new(0));
    let compared = log::compare(&mut admin, ledger, topics, !options.any_order, Arc::clone(&records));
    let conclusion = showing("records compared", &records, compared).await?;
    let report = Report { conclusion, bad, unfinished, records: records.load(Ordering::Relaxed) };
    print(report, options.is_json).await
}

/// On a thread, because whoever reads stdout may never take it, and Ctrl-C has to end that.
async fn print(report: Report, is_json: bool) -> Result<Exit, Failure> {
    let (tell_end, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("milena-printer".to_owned());
    let printing = thread.spawn(move || {
        let _nobody_waits = tell_end.send(report.print(is_json));
    });
    printing.map_err(|error| Failure::midway(format!("a thread cannot be started: {error}")))?;
    ended.await.unwrap_or_else(|_| Err(Failure::midway("the thread that prints has ended early")))
}

async fn outcomes(options: &Audit) -> Result<Outcomes, Failure> {
    let lines = Arc::new(AtomicU64::new(0));
    let ended = reading::start(options.files.clone(), Arc::clone(&lines));
    let ended =
        ended.map_err(|error| Failure::to_start(format!("the thread that reads cannot be started: {error}")))?;
    let read = showing("outcomes read", &lines, ended).await;
    read.unwrap_or_else(|_| Err("the thread that reads has ended early".to_owned())).map_err(Failure::midway)
}

/// Waits, and shows how it goes.
async fn showing<T>(what: impl Display, count: &AtomicU64, work: impl Future<Output = T>) -> T {
    let mut counting = Counting::on_terminal(what);
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(progress::INTERVAL, work.as_mut()).await {
            Ok(done) => {
                counting.end();
                return done;
            }
            Err(_) => counting.show(count.load(Ordering::Relaxed)),
        }
    }
}
