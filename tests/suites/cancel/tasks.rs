//! Called back from another task, of an engine on the real kernel and both backends.

use std::cell::Cell;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;

use ambidex::Handle;
use ambidex::disk::{Choice, File, Options, Outcome};
use ambidex_tests::loops::run_on;
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{backends, poison};
use rustix::fs::{CWD, Mode, mkfifoat};

use super::called_back;

/// One thread for remote files, which hangs in the open of a FIFO.
fn stuck<T>(choice: Choice, test: impl AsyncFnOnce(Handle, &Path) -> T) -> T {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let options = Options {
        choice,
        workers_max: 1,
        ..Options::default()
    };
    let builder = poison::builder(options).expect("a ring");
    let mut engine = builder.build().expect("an engine");
    run_on(&mut engine, async |io| {
        let (own, path) = (io.clone(), fifo.clone());
        let file = File::open(io.disk(), "/proc/self/stat").await;
        file.expect("open").close().await.expect("close");
        let hung = io.spawn(async move { File::open(own.disk(), path).await });
        while io.disk().in_flight() == 0 {
            io.yield_now().await;
        }
        let result = test(io, &fifo).await;
        let mut both = std::fs::OpenOptions::new();
        let _writer = both.read(true).write(true).open(&fifo).expect("a FIFO");
        assert!(hung.await.unwrap().is_ok());
        result
    })
}

#[test]
fn another_task_calls_an_operation_back_and_the_one_that_waits_goes_on() {
    for choice in backends("another task") {
        stuck(choice, async |io, _| {
            let alive = Rc::new(Cell::new(0));
            let buffer = CountedBuf::new(64, &alive);
            let (handle, opening) = (io.disk().clone(), io.disk().clone());
            // The buffer rides along, as in a composite: whoever waits gets it back.
            let work = handle.cancellable(async move {
                let result = File::open(&opening, "/proc/self/stat").await;
                (result.map(|_| 0), buffer)
            });
            let canceller = work.canceller();
            let task = io.spawn(async move { pin!(work).await });
            io.yield_now().await;
            let other = io.spawn(async move { canceller.cancel() });
            let (result, buffer) = task.await.unwrap();
            assert_eq!(super::errno(&result), Some(libc::ECANCELED));
            other.await.unwrap();
            drop(buffer);
            assert_eq!((alive.get(), io.disk().in_flight()), (0, 1));
        });
    }
}

#[test]
fn a_task_that_is_aborted_while_it_calls_back_leaves_nothing_behind() {
    for choice in backends("aborted") {
        stuck(choice, async |io, _| {
            let (handle, opening) = (io.disk().clone(), io.disk().clone());
            let work = handle.cancellable(async move {
                File::open(&opening, "/proc/self/stat").await.map(drop)
            });
            let canceller = work.canceller();
            let task = io.spawn(async move { pin!(work).await });
            io.yield_now().await;
            canceller.cancel();
            task.abort();
            while io.disk().in_flight() > 1 {
                io.yield_now().await;
            }
            canceller.cancel();
            assert_eq!(io.disk().waiting(), 0);
        });
    }
}

#[test]
fn a_deadline_calls_back_what_it_would_otherwise_lose() {
    for choice in backends("deadline") {
        stuck(choice, async |io, _| {
            let alive = Rc::new(Cell::new(0));
            let opening = io.disk().clone();
            let buffer = CountedBuf::new(64, &alive);
            let work = io.disk().cancellable(async move {
                let result = File::open(&opening, "/proc/self/stat").await;
                (result.map(|_| 0), buffer)
            });
            let mut work = pin!(work);
            let elapsed = io.timeout(std::time::Duration::ZERO, work.as_mut()).await;
            assert!(elapsed.is_err());
            let outcome = work.as_mut().cancel().await;
            assert!(matches!(outcome, Outcome::Cancelled(_)));
            drop(called_back(outcome));
            assert_eq!(alive.get(), 0);
        });
    }
}
