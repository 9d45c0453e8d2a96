//! That AddressSanitizer catches whoever touches or frees a buffer which the kernel has (G1): the wrongs that the suites
//! run under it would have to commit. Each is committed by a child process, which must not live.
#![allow(unsafe_code)]

use std::alloc::{Layout, dealloc};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;

use ambidex::disk::{Choice, File};
use ambidex_tests::sim::{
    Patience, backends, drive, poison, poll_once, ring, skip, turn, wait_for_completion,
};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Tells the child what to do, and on which backend.
const WRONG: &str = "AMBIDEX_WRONG";
const BYTES: usize = 64;

/// Runs the test `test` of this program again, as a child that does `wrong`. Tells what it said, if it did not live.
fn commit(test: &str, wrong: &str) -> Option<String> {
    let program = env::current_exe().expect("a path");
    let mut child = Command::new(program);
    child
        .args(["--exact", test, "--nocapture"])
        .env(WRONG, wrong);
    let output = child.output().expect("a child");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads a FIFO, which waits until something is written there, and has `wrong` done to the buffer meanwhile.
fn read_with(choice: Choice, wrong: impl FnOnce(*mut u8)) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let both = OpenOptions::new().read(true).write(true).open(&path);
    let mut writer: fs::File = both.expect("a FIFO");
    let mut ring = ring(choice, 4);
    let handle = ring.handle();
    let file = drive(&mut ring, File::open(&handle, path)).expect("open");
    let mut buffer = Vec::with_capacity(BYTES);
    let address = buffer.as_mut_ptr();
    let mut read = Box::pin(file.read_at(buffer, 0));
    let patience = Patience::new();
    while ring.counters().submitted < 2 {
        assert!(poll_once(read.as_mut()).is_pending());
        turn(&mut ring);
        patience.check("the read begins");
    }
    wrong(address);
    writer.write_all(b"late").expect("room");
    wait_for_completion(&mut ring);
    let (result, buffer) = drive(&mut ring, read);
    assert_eq!((result.expect("read"), &buffer[..]), (4, &b"late"[..]));
}

fn touch(address: *mut u8) {
    // SAFETY: none: the kernel has it. The process ends here.
    let byte = unsafe { address.read_volatile() };
    println!("{byte}");
}

fn overwrite(address: *mut u8) {
    // SAFETY: none: the kernel has it. The process ends here.
    unsafe { address.write_volatile(1) };
}

fn free(address: *mut u8) {
    let layout = Layout::array::<u8>(BYTES).expect("small");
    // SAFETY: none: the kernel has it. The process ends here.
    unsafe { dealloc(address, layout) };
}

/// Does `wrong` in a child for each backend and looks for `report` in what that says.
fn check(test: &str, wrong: fn(*mut u8), report: &str) {
    if !poison::ACTIVE {
        return skip(
            test,
            "built without AddressSanitizer; tests/lanes/asan does",
        );
    }
    for choice in backends(test) {
        let name = format!("{choice:?}");
        match env::var(WRONG) {
            Ok(asked) if asked == name => return read_with(choice, wrong),
            Ok(_) => continue,
            Err(_) => {}
        }
        let said = commit(test, &name).unwrap_or_else(|| panic!("{name}: the child lived"));
        assert!(said.contains(report), "{name}: {said}");
    }
}

#[test]
fn reading_a_lent_buffer_ends_the_process() {
    check(
        "reading_a_lent_buffer_ends_the_process",
        touch,
        "use-after-poison",
    );
}

#[test]
fn writing_a_lent_buffer_ends_the_process() {
    check(
        "writing_a_lent_buffer_ends_the_process",
        overwrite,
        "use-after-poison",
    );
}

#[test]
fn freeing_a_lent_buffer_ends_the_process() {
    check(
        "freeing_a_lent_buffer_ends_the_process",
        free,
        "lent memory is freed",
    );
}

#[test]
fn a_buffer_that_is_left_alone_comes_back() {
    for choice in backends("left alone") {
        read_with(choice, |_| {});
    }
}
