//! Files that change while they are sent: what was promised arrives to the byte, or the connection
//! ends where everybody can see it, and nothing follows on it. Traps 25 to 33.
//!
//! Files are larger than what sockets hold, and clients read the head first: so the change falls
//! in the middle for certain.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use ambidex_tests::client::{Client, get};
use ambidex_tests::rig::fuse::{self, CACHED, Rig, Script};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Server, backends, each_backend};
use ambidex_tests::tree::{Tree, content, content_at};

/// More than socket buffers on both sides hold.
const LARGE: usize = 48 << 20;
const SEED: u64 = 21;
/// Where a range begins that is not the whole.
const FROM: usize = 12_345;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("large", content(SEED, LARGE));
    tree
}

/// An answer whose head has been read, and whose body is on its way.
struct Begun {
    client: Client,
    promised: usize,
    expected: Vec<u8>,
}

impl Begun {
    /// The whole file, or from `FROM` on; a second request waits behind it.
    fn new(server: &Server, range: bool) -> Begun {
        let mut client = Client::connect(server.addr());
        let field = if range {
            format!("Range: bytes={FROM}-\r\n")
        } else {
            String::new()
        };
        client.send(format!("GET /large HTTP/1.1\r\nHost: t\r\n{field}\r\n").as_bytes());
        client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = client.read_head().expect("a head");
        let from = if range { FROM } else { 0 };
        assert_eq!(head.status, if range { 206 } else { 200 });
        assert_eq!(head.content_length() as usize, LARGE - from);
        Begun {
            client,
            promised: LARGE - from,
            expected: content_at(SEED, from as u64, LARGE - from),
        }
    }

    /// All that was promised arrives, then the answer to the next request.
    fn expect_whole(mut self) {
        let mut body = vec![0; self.promised];
        self.client
            .read_exact(&mut body)
            .expect("what was promised");
        assert!(body == self.expected, "other bytes than at the start");
        assert_eq!(self.client.read_response(false).body, b"alpha");
    }

    /// Less than was promised arrives, all of it right, and then the end: no next answer. No reset
    /// either, although a request waits: it could destroy what was sent.
    fn expect_cut(mut self) {
        let mut body = Vec::new();
        self.client
            .read_to_end(&mut body)
            .expect("data, then the end");
        assert!(body.len() < self.promised, "{} bytes", body.len());
        assert!(self.expected.starts_with(&body), "padded or continued");
    }
}

/// Changes the file under a whole answer and under a range, on each backend.
fn under_way(change: impl Fn(&Path), check: impl Fn(Begun)) {
    for backend in backends() {
        let tree = tree();
        // The second answer waits while the first is read and compared.
        let builder = Server::builder(tree.path()).backend(backend);
        let server = builder.args(["--write-timeout", "600"]).start();
        let answers = [false, true].map(|range| Begun::new(&server, range));
        change(tree.path());
        answers.into_iter().for_each(&check);
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        server.assert_sound();
    }
}

fn resize(root: &Path, size: usize) {
    let file = File::options().write(true).open(root.join("large"));
    let resized = file.and_then(|file| file.set_len(size as u64));
    resized.expect("own file");
}

#[test]
fn truncated_files_end_their_connections_short() {
    // Nothing left; a boundary of any folio, since cutting within one zeroes its rest in the cache.
    for size in [0, 4 << 20] {
        under_way(|root| resize(root, size), Begun::expect_cut);
    }
}

#[test]
fn grown_files_arrive_as_long_as_was_promised() {
    under_way(|root| resize(root, 2 * LARGE), Begun::expect_whole);
}

#[test]
fn replaced_and_deleted_files_arrive_as_they_were() {
    under_way(
        |root| {
            fs::write(root.join("new"), content(SEED + 1, LARGE)).expect("a new file");
            fs::rename(root.join("new"), root.join("large")).expect("own files");
        },
        Begun::expect_whole,
    );
    under_way(
        |root| fs::remove_file(root.join("large")).expect("own file"),
        Begun::expect_whole,
    );
}

#[test]
fn pieces_of_two_versions_are_never_taken_for_one() {
    for backend in backends() {
        let tree = tree();
        let server = Server::start(tree.path(), backend);
        let mut client = Client::connect(server.addr());
        let first = client.request("GET", "/large", &[("Range", "bytes=0-999")]);
        let etag = first.header("etag").expect("an ETag").to_owned();
        let resume = [("Range", "bytes=1000-1999"), ("If-Range", etag.as_str())];
        let second = client.request("GET", "/large", &resume);
        assert_eq!(second.status, 206);
        assert_eq!(
            [first.body, second.body].concat(),
            content_at(SEED, 0, 2000)
        );
        fs::write(tree.path().join("new"), content(SEED + 1, LARGE)).expect("a new file");
        fs::rename(tree.path().join("new"), tree.path().join("large")).expect("own files");
        let third = client.request("GET", "/large", &resume);
        assert_eq!(third.status, 200, "a part of another version");
        assert!(third.body == content(SEED + 1, LARGE));
    }
}

#[test]
fn a_rewrite_within_the_same_second_changes_the_etag() {
    let tree = Tree::new();
    let path = tree.path().join("page");
    each_backend(tree.path(), |server| {
        let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        tree.file("page", "one");
        tree.modified("page", second + Duration::from_nanos(1));
        let mut client = Client::connect(server.addr());
        let first = client.get("/page");
        let etag = first.header("etag").expect("an ETag").to_owned();
        let fields = [("If-None-Match", etag.as_str())];
        assert_eq!(client.request("GET", "/page", &fields).status, 304);
        // In place, as long as before, a nanosecond later.
        let mut file = File::options().write(true).open(&path).expect("own file");
        file.write_all(b"two").expect("own file");
        tree.modified("page", second + Duration::from_nanos(2));
        let next = client.request("GET", "/page", &fields);
        assert_eq!((next.status, next.body.as_slice()), (200, &b"two"[..]));
        // Another file with the same size and time.
        let etag = next.header("etag").expect("an ETag").to_owned();
        let keep = File::open(&path).expect("own file");
        tree.file("other", "six");
        tree.modified("other", second + Duration::from_nanos(2));
        fs::rename(tree.path().join("other"), &path).expect("own files");
        let fields = [("If-None-Match", etag.as_str())];
        let next = client.request("GET", "/page", &fields);
        assert_eq!((next.status, next.body.as_slice()), (200, &b"six"[..]));
        drop(keep);
    });
}

#[test]
fn a_sparse_file_beyond_four_gigabytes_is_right_in_each_part() {
    const SIZE: u64 = 5 << 30;
    let tree = Tree::new();
    let mut file = tree.sparse("sparse", SIZE);
    let marks = [0, (1 << 31) - 4, (1 << 32) - 4, SIZE - 8];
    for at in marks {
        file.seek(SeekFrom::Start(at)).expect("own file");
        file.write_all(&at.to_le_bytes()).expect("own file");
    }
    drop(file);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let head = client.request("HEAD", "/sparse", &[]);
        assert_eq!(head.content_length(), SIZE);
        for at in marks {
            // In two pieces, to be put together.
            let mut both = Vec::new();
            for (first, last) in [(at, at + 2), (at + 3, at + 7)] {
                let range = format!("bytes={first}-{last}");
                let part = client.request("GET", "/sparse", &[("Range", &range)]);
                assert_eq!(part.status, 206);
                let said = part.header("content-range").expect("where it is");
                assert_eq!(said, format!("bytes {first}-{last}/{SIZE}"));
                both.extend(part.body);
            }
            assert_eq!(both, at.to_le_bytes());
        }
        let last = client.request("GET", "/sparse", &[("Range", "bytes=-8")]);
        assert_eq!(last.body, (SIZE - 8).to_le_bytes());
        let beyond = format!("bytes={SIZE}-");
        let beyond = client.request("GET", "/sparse", &[("Range", &beyond)]);
        assert_eq!(beyond.status, 416);
        // All of it begins; nobody needs to wait for the end.
        let mut whole = Client::connect(server.addr());
        whole.send(b"GET /sparse HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(whole.read_head().expect("a head").content_length(), SIZE);
        whole.reset();
    });
}

#[test]
fn an_empty_file_is_whole_and_has_no_part() {
    let tree = Tree::new();
    tree.file("empty", "");
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let whole = client.get("/empty");
        assert_eq!((whole.status, whole.content_length()), (200, 0));
        let part = client.request("GET", "/empty", &[("Range", "bytes=0-")]);
        assert_eq!(part.status, 416);
        assert_eq!(part.header("content-range"), Some("bytes */0"));
        assert_eq!(client.get("/empty").status, 200);
    });
}

/// Before anything was sent there is an honest answer; after that, a cut.
#[test]
fn errors_of_the_disk_are_answered_at_the_start_and_cut_in_the_middle() {
    const NAME: &str = "errors_of_the_disk_are_answered_at_the_start_and_cut_in_the_middle";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    let whole = content(8, 600_000);
    let file = Script::new(whole.clone()).direct();
    for from in [0, 400_000] {
        for script in [file.clone().fail_from(from), file.clone().stale_from(from)] {
            for backend in backends() {
                let tree = Tree::new();
                tree.dir("rig").file("a", "alpha");
                let at = tree.path().join("rig");
                let rig = Rig::mount(&at, CACHED, vec![("file", script.clone())]);
                let rig = rig.expect("a mount");
                let server = Server::start(tree.path(), backend);
                let mut client = Client::connect(server.addr());
                client.send(b"GET /rig/file HTTP/1.1\r\nHost: t\r\n\r\n");
                client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
                if from == 0 {
                    assert_eq!(client.read_response(false).status, 500);
                    assert_eq!(client.read_response(false).body, b"alpha");
                } else {
                    let head = client.read_head().expect("a head");
                    assert_eq!(head.content_length(), 600_000);
                    let mut body = Vec::new();
                    let _ = client.read_to_end(&mut body);
                    assert!(body.len() <= 400_000 && whole.starts_with(&body));
                }
                assert_eq!(get(server.addr(), "/a").body, b"alpha");
                server.assert_sound();
                drop(rig);
            }
        }
    }
}
