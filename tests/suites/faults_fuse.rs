//! G6 and G7: a file system that fails, answers in pieces or lies about sizes. What the server promised
//! it delivers to the byte, or cuts the connection where everybody can see it; it never makes bytes up,
//! and other clients do not notice.

use std::io::{ErrorKind, Read};

use ambidex_tests::client::{self, Client, Response};
use ambidex_tests::rig::fuse::{self, CACHED, Rig, Script, UNCACHED};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Server, backends};
use ambidex_tests::tree::{Tree, content};

/// Of a file in one piece, of one in several, and of one beyond any pool buffer.
const SIZES: [usize; 3] = [1000, 100_000, 1_000_000];

/// A server with the scripted file at `/rig/file` and an ordinary one at `/page`.
///
/// The order of the fields matters: the mount goes before the server and the tree.
struct Stage {
    _rig: Rig,
    server: Server,
    _tree: Tree,
}

/// What became of one request.
enum Outcome {
    Whole(Response),
    /// The head promised this many bytes, fewer came, then the connection ended.
    Cut {
        promised: u64,
        body: Vec<u8>,
    },
    /// The connection ended before a head.
    Closed,
}

impl Stage {
    /// Runs `test` on each backend, with names and attributes cached by the kernel and not.
    fn each(script: &Script, test: impl Fn(&Self)) {
        for ttl in [CACHED, UNCACHED] {
            for backend in backends() {
                let tree = Tree::new();
                tree.dir("rig").file("page", content(1, 1024));
                let files = vec![("file", script.clone())];
                let stage = Self {
                    _rig: Rig::mount(&tree.path().join("rig"), ttl, files).expect("a mount"),
                    server: Server::start(tree.path(), backend),
                    _tree: tree,
                };
                stage.neighbour_unaffected_by(|| test(&stage));
                stage.server.assert_sound();
            }
        }
    }

    /// A connection that lives through `fault`, and one made after it, are served.
    fn neighbour_unaffected_by(&self, fault: impl FnOnce()) {
        let expected = content(1, 1024);
        let mut neighbour = Client::connect(self.server.addr());
        assert!(neighbour.get("/page").body == expected);
        fault();
        assert!(neighbour.get("/page").body == expected);
        assert!(client::get(self.server.addr(), "/page").body == expected);
    }

    fn fetch(&self, range: Option<&str>) -> Outcome {
        let mut client = Client::connect(self.server.addr());
        let range = range.map_or(String::new(), |range| format!("Range: {range}\r\n"));
        client.send(format!("GET /rig/file HTTP/1.1\r\nHost: test\r\n{range}\r\n").as_bytes());
        let mut response = match client.read_head() {
            Ok(response) => response,
            Err(error) if is_end(error.kind()) => return Outcome::Closed,
            Err(error) => panic!("{error}"),
        };
        let promised = response.content_length();
        let body = read_up_to(&mut client, promised);
        if (body.len() as u64) < promised {
            return Outcome::Cut { promised, body };
        }
        response.body = body;
        if response.status >= 400 && response.header("connection") != Some("close") {
            assert!(client.get("/page").body == content(1, 1024));
        }
        Outcome::Whole(response)
    }

    /// The request ends in an honest error, or in a cut after at most the first bytes of `real`.
    fn expect_failure(&self, real: &[u8]) {
        match self.fetch(None) {
            Outcome::Closed => {}
            Outcome::Whole(response) => assert!(response.status >= 500, "{}", response.status),
            Outcome::Cut { promised, body } => {
                assert!(real.starts_with(&body), "bytes were made up: {promised}");
            }
        }
    }

    fn expect_bytes(&self, range: Option<&str>, status: u16, expected: &[u8]) {
        let Outcome::Whole(response) = self.fetch(range) else {
            panic!("{range:?} of a sound file was cut");
        };
        assert_eq!(response.status, status, "{range:?}");
        assert!(response.body == expected, "{range:?}");
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// What arrives before the end of the connection, and of that at most `limit` bytes.
fn read_up_to(client: &mut Client, limit: u64) -> Vec<u8> {
    let mut body = Vec::new();
    match client.by_ref().take(limit).read_to_end(&mut body) {
        Ok(_) => body,
        Err(error) if is_end(error.kind()) => body,
        Err(error) => panic!("{error} after {} bytes", body.len()),
    }
}

#[test]
fn read_error_from_the_start() {
    if let Some(reason) = fuse::missing() {
        return skipped("read_error_from_the_start", &reason);
    }
    for size in SIZES {
        let script = Script::new(content(2, size)).fail_from(0);
        for script in [script.clone(), script.direct()] {
            Stage::each(&script, |stage| stage.expect_failure(&[]));
        }
    }
}

#[test]
fn read_error_in_the_middle() {
    if let Some(reason) = fuse::missing() {
        return skipped("read_error_in_the_middle", &reason);
    }
    let real = content(2, 1_000_000);
    for fails_from in [4096, 70_000, 999_999] {
        let script = Script::new(real.clone()).fail_from(fails_from);
        for script in [script.clone(), script.direct()] {
            Stage::each(&script, |stage| {
                stage.expect_failure(&real[..fails_from as usize]);
                stage.expect_bytes(Some("bytes=0-1023"), 206, &real[..1024]);
            });
        }
    }
}

#[test]
fn short_reads_are_continued() {
    if let Some(reason) = fuse::missing() {
        return skipped("short_reads_are_continued", &reason);
    }
    for size in SIZES {
        let real = content(3, size);
        let script = Script::new(real.clone()).short_reads();
        Stage::each(&script, |stage| {
            stage.expect_bytes(None, 200, &real);
            stage.expect_bytes(Some("bytes=3-900"), 206, &real[3..=900]);
            stage.expect_bytes(Some("bytes=-77"), 206, &real[size - 77..]);
        });
    }
}

#[test]
fn file_shorter_than_it_says() {
    if let Some(reason) = fuse::missing() {
        return skipped("file_shorter_than_it_says", &reason);
    }
    for size in SIZES {
        let real = content(4, size);
        let script = Script::new(real.clone()).reported_size(size as u64 + 5000);
        for script in [script.clone(), script.direct()] {
            Stage::each(&script, |stage| {
                // Where the kernel corrects the size after the first read, later requests may be whole.
                stage.expect_failure(&real);
            });
        }
    }
}

#[test]
fn file_longer_than_it_says() {
    if let Some(reason) = fuse::missing() {
        return skipped("file_longer_than_it_says", &reason);
    }
    for size in SIZES {
        let real = content(5, size + 5000);
        let script = Script::new(real.clone()).reported_size(size as u64);
        for script in [script.clone(), script.direct()] {
            Stage::each(&script, |stage| {
                stage.expect_bytes(None, 200, &real[..size]);
                stage.expect_bytes(Some("bytes=10-19"), 206, &real[10..20]);
            });
        }
    }
}
