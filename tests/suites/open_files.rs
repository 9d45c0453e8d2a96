//! Files that stay open between requests, and small ones that are kept whole: each answer is as it would be without,
//! no older than a second, and descriptors come back.

use std::time::Duration;

use ambidex_server::{Config, Files};
use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Server, backends};
use ambidex_tests::sim::disk::Disk;
use ambidex_tests::tree::{Tree, content};

use scene::{config, in_memory, in_memory_with};

#[path = "open_files/fresh.rs"]
mod fresh;
#[path = "open_files/same.rs"]
mod same;
#[path = "open_files/scene.rs"]
mod scene;

const SECOND: Duration = Duration::from_secs(1);

/// Asks for one file again and again, with these settings and in that place; tells how often it was opened and read.
fn opens_and_reads(place: Disk, config: Config) -> (u64, u64) {
    let mut counts = (0, 0);
    in_memory_with(10, place, config, async |scene, disk| {
        disk.file("site/file", b"text".to_vec());
        let before = disk.seen();
        for _ in 0..10 {
            assert_eq!(scene.get("/file").await, "text");
        }
        let after = disk.seen();
        counts = (after.opens - before.opens, after.reads - before.reads);
    });
    counts
}

#[test]
fn a_file_that_is_asked_for_again_is_opened_once_and_a_small_one_read_twice() {
    for place in [Disk::Local, Disk::Memory] {
        assert_eq!(opens_and_reads(place, Config::default()), (1, 2));
    }
}

#[test]
fn what_may_hang_is_opened_and_read_each_time() {
    assert_eq!(opens_and_reads(Disk::Remote, Config::default()), (10, 10));
}

#[test]
fn nothing_is_kept_if_told_so() {
    let config = config(0, Files::default());
    assert_eq!(opens_and_reads(Disk::Local, config), (10, 10));
}

/// Whoever asks for more than fits, or for it after that, has it opened anew.
#[test]
fn so_many_stay_open_and_no_more() {
    const MAX: usize = 3;
    let config = config(MAX, Files::default());
    in_memory_with(10, Disk::Local, config, async |scene, disk| {
        for n in 0..5 {
            disk.file(&format!("site/{n}"), n.to_string().into());
        }
        let before = disk.held();
        for n in (0..5).chain(0..5) {
            assert_eq!(scene.get(&format!("/{n}")).await, n.to_string());
            scene.settle().await;
            assert!(disk.held() <= before + MAX);
        }
        assert_eq!(disk.held(), before + MAX);
    });
}

#[test]
fn what_is_open_for_nobody_is_closed_after_a_second() {
    in_memory(10, Disk::Local, async |scene, disk| {
        for n in 0..20 {
            disk.file(&format!("site/{n}"), n.to_string().into());
        }
        let before = disk.held();
        for n in 0..20 {
            scene.expect(&format!("/{n}"), &n.to_string()).await;
        }
        assert_eq!(disk.held(), before + 20);
        scene.clock.pass(SECOND);
        scene.settle().await;
        assert_eq!(disk.held(), before);
        // From now on nobody looks every second: no task is polled.
        let polls = scene.io.metrics().polls;
        scene.clock.pass(5 * SECOND);
        scene.settle().await;
        assert_eq!(scene.io.metrics().polls, polls);
    });
}

/// More files than may stay open, and then connections in their place.
#[test]
fn open_files_give_way_to_connections() {
    const DESCRIPTORS: u64 = 64;
    let tree = Tree::new();
    for n in 0..100 {
        tree.file(format!("{n}"), content(n, 10));
    }
    for backend in backends() {
        let builder = Server::builder(tree.path()).backend(backend);
        let server = builder.nofile(DESCRIPTORS).start();
        for n in (0..100).chain(0..100) {
            assert_eq!(get(server.addr(), &format!("/{n}")).body, content(n, 10));
            assert!(server.open_fds() as u64 <= DESCRIPTORS);
        }
        let mut clients: Vec<Client> = (0..30).map(|_| Client::connect(server.addr())).collect();
        for (n, client) in (0..).zip(&mut clients) {
            assert_eq!(client.get(&format!("/{n}")).body, content(n, 10));
        }
        server.assert_sound();
    }
}

/// Others in the process, or in the system, may take more than was foreseen.
#[test]
fn open_files_give_way_to_a_file_that_is_asked_for() {
    in_memory(10, Disk::Local, async |scene, disk| {
        disk.file("site/one", b"1".to_vec());
        disk.file("site/other", b"2".to_vec());
        let before = disk.held();
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            scene.expect("/one", "1").await;
            assert_eq!(disk.held(), before + 1);
            disk.script_answers([-errno]);
            assert_eq!(scene.get("/other").await, "2");
            assert_eq!(disk.held(), before + 1, "the one was closed for the other");
            scene.clock.pass(SECOND);
            scene.settle().await;
            assert_eq!(disk.held(), before);
            disk.script_answers([-errno]);
            assert_eq!(scene.get("/one").await, "503");
        }
    });
}
