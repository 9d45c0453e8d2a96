//! Too little of everything: descriptors, locked memory, address space, room on a disk.

use std::io;

use ambidex::disk::OpenOptions;
use ambidex_tests::client::{Client, get};
use ambidex_tests::loops::{engines, run_on};
use ambidex_tests::rig::load::{Load, Page};
use ambidex_tests::rig::memory::LittleMemory;
use ambidex_tests::rig::{cold, skipped};
use ambidex_tests::server::{Backend, Server, backends, eventually};
use ambidex_tests::tree::content;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::stage::Promise::{Honest, Right};
use crate::stage::{CLIENTS, Effort, Promise, Report, Site, effort, expect_normal, requests};

/// What is short, in the words of ulimit(1), what holds then, from when on it is tried.
type Shortage = (&'static str, &'static str, Promise, Effort);

const SHORTAGES: &[Shortage] = &[
    ("40 descriptors", "-n 40", Honest, Effort::Quick),
    ("28 descriptors", "-n 28", Honest, Effort::Long),
    ("no locked memory", "-l 0", Right, Effort::Ci),
    ("files of no size", "-f 0", Right, Effort::Long),
    // The binary and its buffers fit, an arena of malloc for each thread does not.
    ("200 MiB of address space", "-v 204800", Right, Effort::Ci),
];

/// Connections that stay and say nothing: more than there are descriptors for, where those are short.
const SILENT: usize = 40;

fn cell(site: &Site, backend: Backend, shortage: &Shortage, report: &mut Report) {
    let &(what, ulimit, promise, _) = shortage;
    let name = format!("{what}, on {}", backend.name());
    let mut builder = site.builder(backend).ulimit(ulimit);
    if promise == Honest {
        // As long as a connection may say nothing while others wait for its place.
        builder = builder.args(["--header-timeout", "1"]);
    }
    let server = builder.start();
    let load = site.load(&server);
    let before = server.open_fds();
    let silent = crowd(&server);
    let mut tally = load.run(requests());
    promise.check(&tally, &name);
    assert!(tally.right > 0, "{name}: nobody was served");
    drop(silent);
    // Behind those in the queue, so they have been accepted, and the next must find room.
    assert_eq!(get(server.addr(), "/small0").status, 200);
    eventually("those who left are forgotten", || {
        server.open_fds() <= before
    });
    tally.add(expect_normal(server, &load, &name));
    report.cell(&name, tally);
}

fn crowd(server: &Server) -> Vec<Client> {
    (0..SILENT)
        .map(|_| Client::connect(server.addr()))
        .collect()
}

#[test]
fn too_little_of_everything() {
    let mut report = Report::new("shortages");
    let site = Site::new();
    for backend in backends() {
        for shortage in SHORTAGES.iter().filter(|shortage| effort() >= shortage.3) {
            cell(&site, backend, shortage, &mut report);
        }
        if effort() >= Effort::Ci
            && let Err(error) = little_memory(backend, &mut report)
        {
            skipped("little memory", &error.to_string());
        }
    }
    report.finish();
}

/// What the server and the page cache of what it reads may take, and files of twice as much.
const MEMORY: u64 = 32 << 20;
const FILE: usize = 2 << 20;

/// Files that do not fit into memory: the kernel takes back pages while they are being sent.
fn little_memory(backend: Backend, report: &mut Report) -> io::Result<()> {
    let name = format!("{} MiB of memory, on {}", MEMORY >> 20, backend.name());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    if let Some(reason) = cold::missing(folder.path())? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let page = |n: u64| {
        let (file, bytes) = (format!("file{n}"), content(90 + n, FILE));
        let place = folder.path().join(&file);
        std::fs::write(&place, &bytes)?;
        cold::evict(&place)?;
        Ok(Page::new(format!("/{file}"), bytes))
    };
    let files = 2 * MEMORY / FILE as u64;
    let pages: io::Result<Vec<_>> = (0..files).map(page).collect();
    let memory = LittleMemory::new(MEMORY)?;
    let builder = Server::builder(folder.path()).backend(backend);
    let server = builder.args(["--grace-period", "1"]).start();
    memory.attach(server.pid())?;
    let load = Load::new(server.addr(), pages?, CLIENTS);
    let mut tally = load.run(requests());
    tally.expect_right(&name);
    assert!(memory.met()? > 0, "{name}: it was enough");
    tally.add(expect_normal(server, &load, &name));
    report.cell(&name, tally);
    Ok(())
}

/// A file system in memory with room for `bytes`.
struct Full(TempDir);

impl Full {
    fn mount(bytes: usize) -> io::Result<Self> {
        let at = TempDir::new()?;
        let size = format!("size={bytes}");
        let size = std::ffi::CString::new(size).expect("no zero in it");
        mount(
            "tmpfs",
            at.path(),
            "tmpfs",
            MountFlags::empty(),
            size.as_c_str(),
        )?;
        Ok(Self(at))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0.path(), UnmountFlags::DETACH) {
            eprintln!("unmounting a tmpfs: {error}");
        }
    }
}

/// What was said to be written is there, the rest has its errno, and room that comes back is used.
#[test]
fn writes_to_a_full_tmpfs_tell_how_far_they_came() {
    const NAME: &str = "writes_to_a_full_tmpfs_tell_how_far_they_came";
    const ROOM: usize = 256 * 1024;
    let chunk = |n: usize| content(70 + n as u64, 50_000);
    for mut engine in engines(NAME) {
        let full = match Full::mount(ROOM) {
            Ok(full) => full,
            Err(error) => {
                return skipped(NAME, &format!("mounting tmpfs (root is needed): {error}"));
            }
        };
        let place = full.0.path().join("file");
        let mut expected = Vec::new();
        run_on(&mut engine, async |io| {
            let options = OpenOptions::new().write().create();
            let file = options.open(io.disk(), &place).await.expect("a new file");
            let errno = loop {
                let bytes = chunk(expected.len() / 50_000);
                let (result, bytes) = file.write_at(bytes, expected.len() as u64).await;
                match result {
                    Ok(count) => expected.extend_from_slice(&bytes[..count]),
                    Err(error) => break error.raw_os_error(),
                }
            };
            assert_eq!(errno, Some(libc::ENOSPC));
            assert!(expected.len() <= ROOM && expected.len() > ROOM / 2);
            // Others fail alike; what is there can be overwritten.
            let (again, _) = file.write_at(chunk(9), ROOM as u64).await;
            assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
            let (over, bytes) = file.write_all_at(content(80, 1000), 0).await;
            over.expect("no room is needed");
            expected[..1000].copy_from_slice(&bytes);
        });
        assert!(std::fs::read(&place).expect("own file") == expected);
        std::fs::remove_file(&place).expect("own file");
        let room = full.0.path().join("room");
        run_on(&mut engine, async |io| {
            let options = OpenOptions::new().write().create();
            let file = options.open(io.disk(), &room).await.expect("a new file");
            file.write_all_at(chunk(0), 0).await.0.expect("room again");
        });
        assert!(std::fs::read(&room).expect("own file") == chunk(0));
    }
}
