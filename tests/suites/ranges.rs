//! Several ranges at once, and the corners of one: RFC 9110, 14.

use std::fs;
use std::os::unix::fs::FileExt;

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::each_backend;
use ambidex_tests::sim::rng;
use ambidex_tests::tree::{Tree, content};

const SIZE: usize = 10_000;
/// As many as one request may name.
const RANGES_MAX: usize = 64;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("data.bin", content(1, SIZE))
        .file("empty", "")
        .file("note.txt", "0123456789");
    tree
}

fn ask(client: &mut Client, path: &str, range: &str) -> Response {
    client.request("GET", path, &[("Range", range)])
}

/// A part of a multipart answer: first and last byte, type, bytes.
type Part = (u64, u64, String, Vec<u8>);

/// Takes a multipart/byteranges answer apart, strictly: CRLF before the first boundary, nothing
/// after the last.
fn parts(response: &Response, size: u64) -> Vec<Part> {
    assert_eq!(response.status, 206);
    assert_eq!(response.header("content-range"), None);
    let kind = response.header("content-type").expect("a type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    assert!(
        (16..=70).contains(&boundary.len()) && boundary.bytes().all(plain),
        "{boundary}"
    );
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = response.body.as_slice();
    let mut parts = Vec::new();
    loop {
        rest = rest
            .strip_prefix(delimiter.as_bytes())
            .expect("a delimiter");
        if rest == b"--\r\n" {
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("the end of a delimiter");
        let end = rest
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head");
        let head = std::str::from_utf8(&rest[..end]).expect("text");
        let (kind, range) = head.split_once("\r\n").expect("two fields");
        let kind = kind.strip_prefix("Content-Type: ").expect("a type");
        let range = range
            .strip_prefix("Content-Range: bytes ")
            .expect("a range");
        let (range, of) = range.split_once('/').expect("a size");
        assert_eq!(of, size.to_string());
        let (first, last) = range.split_once('-').expect("two ends");
        let (first, last): (u64, u64) = (first.parse().expect("one"), last.parse().expect("one"));
        let length = usize::try_from(last + 1 - first).expect("small");
        let bytes = rest[end + 4..][..length].to_vec();
        rest = &rest[end + 4 + length..];
        parts.push((first, last, kind.to_owned(), bytes));
    }
}

/// Trap 44.
#[test]
fn several_ranges_come_as_multipart_in_the_order_asked_for() {
    let tree = tree();
    let whole = content(1, SIZE);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let cases: [(&str, &[(u64, u64)]); 6] = [
            ("bytes=0-0,2-2", &[(0, 0), (2, 2)]),
            ("bytes=9990-,0-9", &[(9990, 9999), (0, 9)]),
            (
                "bytes=0-99, 5000-5099 ,\t-1",
                &[(0, 99), (5000, 5099), (9999, 9999)],
            ),
            ("bytes=,,0-1,,5-6,", &[(0, 1), (5, 6)]),
            // What cannot be satisfied is left out.
            ("bytes=0-1,10000-,5-6,-0", &[(0, 1), (5, 6)]),
            (
                "Bytes=0-1,9998-99999999999999999999",
                &[(0, 1), (9998, 9999)],
            ),
        ];
        for (range, expected) in cases {
            let response = ask(&mut client, "/data.bin", range);
            let parts = parts(&response, SIZE as u64);
            let ends: Vec<_> = parts.iter().map(|part| (part.0, part.1)).collect();
            assert_eq!(ends, expected, "{range}");
            for (first, last, kind, bytes) in parts {
                assert_eq!(kind, "application/octet-stream");
                assert!(bytes == whole[first as usize..=last as usize], "{range}");
            }
        }
        let response = ask(&mut client, "/note.txt", "bytes=0-0,-1");
        let texts = parts(&response, 10);
        assert!(
            texts
                .iter()
                .all(|part| part.2 == "text/plain; charset=utf-8")
        );
        // Another boundary each time.
        let again = ask(&mut client, "/note.txt", "bytes=0-0,-1");
        assert_ne!(
            response.header("content-type"),
            again.header("content-type")
        );
    });
}

/// Trap 37.
#[test]
fn ranges_that_touch_become_one() {
    let tree = tree();
    let whole = content(1, SIZE);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for (range, first, last) in [
            ("bytes=0-9,10-19", 0, 19),
            ("bytes=10-19,0-9", 0, 19),
            ("bytes=0-99,50-149", 0, 149),
            ("bytes=0-9,20-29,10-19", 0, 29),
            ("bytes=5-5,5-5,5-5", 5, 5),
            ("bytes=0-4999,5000-", 0, 9999),
            ("bytes=0-1,10000-", 0, 1),
            ("bytes=7-8,", 7, 8),
        ] {
            let response = ask(&mut client, "/data.bin", range);
            assert_eq!(response.status, 206, "{range}");
            let expected = format!("bytes {first}-{last}/{SIZE}");
            assert_eq!(
                response.header("content-range"),
                Some(expected.as_str()),
                "{range}"
            );
            assert!(response.body == whole[first..=last], "{range}");
        }
        let mixed = ask(&mut client, "/data.bin", "bytes=500-509,0-9,5-14");
        let ends: Vec<_> = parts(&mixed, SIZE as u64)
            .iter()
            .map(|part| (part.0, part.1))
            .collect();
        assert_eq!(ends, [(500, 509), (0, 14)]);
    });
}

/// Traps 37 and 38.
#[test]
fn more_than_there_is_comes_as_the_whole_file_once() {
    let tree = tree();
    let whole = content(1, SIZE);
    let every = |count: usize| {
        let specs: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        format!("bytes={}", specs.join(","))
    };
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let ranges = [
            "bytes=0-,0-".to_owned(),
            format!("bytes={}", vec!["0-"; 1000].join(",")),
            "bytes=0-5000,4000-".to_owned(),
            "bytes=-10000,-1".to_owned(),
            every(RANGES_MAX + 1),
            every(1300),
        ];
        for range in ranges {
            let response = ask(&mut client, "/data.bin", &range);
            assert_eq!(response.status, 200, "{range}");
            assert_eq!(response.header("content-range"), None);
            assert!(response.body == whole);
        }
        let response = ask(&mut client, "/data.bin", &every(RANGES_MAX));
        assert_eq!(parts(&response, SIZE as u64).len(), RANGES_MAX);
        assert!(response.body.len() < SIZE + RANGES_MAX * 200);
    });
}

/// Traps 39 and 27.
#[test]
fn what_cannot_be_satisfied_is_416_with_the_size() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for (path, range, size) in [
            ("/data.bin", "bytes=10000-", SIZE),
            ("/data.bin", "bytes=10000-10000", SIZE),
            ("/data.bin", "bytes=-0", SIZE),
            ("/data.bin", "bytes=10000-,-0,20000-30000", SIZE),
            ("/data.bin", "bytes=18446744073709551615-", SIZE),
            ("/data.bin", "bytes=18446744073709551616-", SIZE),
            (
                "/data.bin",
                "bytes=99999999999999999999-99999999999999999999",
                SIZE,
            ),
            ("/empty", "bytes=0-", 0),
            ("/empty", "bytes=0-0", 0),
            ("/empty", "bytes=-1", 0),
            ("/empty", "bytes=0-,-1", 0),
        ] {
            let response = ask(&mut client, path, range);
            assert_eq!(response.status, 416, "{path} {range}");
            let expected = format!("bytes */{size}");
            assert_eq!(
                response.header("content-range"),
                Some(expected.as_str()),
                "{range}"
            );
        }
        assert_eq!(client.get("/empty").content_length(), 0);
    });
}

/// Traps 40 and 41.
#[test]
fn what_is_no_range_is_passed_over() {
    let tree = tree();
    let whole = content(1, SIZE);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for range in [
            "items=0-1",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,5-2",
            "bytes=0-1,x",
            "bytes=0-1;2-3",
            "bytes=0-1 2-3",
            "bytes:0-1",
            "bytes=0-1,-",
            "none=",
            "bytes=0-1,bytes=3-4",
            "bytes=0x0-1",
            "bytes=1-2-3",
            "bytes=99999-5",
            "bytes=a-",
        ] {
            let response = ask(&mut client, "/data.bin", range);
            assert_eq!(response.status, 200, "{range}");
            assert!(response.body == whole, "{range}");
        }
        let last = ask(&mut client, "/data.bin", "bytes=1-18446744073709551615");
        assert!(last.status == 206 && last.body == whole[1..]);
        let last = ask(&mut client, "/data.bin", "bytes=-18446744073709551617");
        assert!(last.status == 206 && last.body == whole);
    });
}

/// Trap 42: RFC 9110, 14.2, defines ranges for GET only.
#[test]
fn head_and_options_pass_over_a_range() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for range in ["bytes=0-9", "bytes=0-1,5-6", "bytes=20000-"] {
            let response = client.request("HEAD", "/data.bin", &[("Range", range)]);
            assert_eq!(
                (response.status, response.content_length()),
                (200, SIZE as u64)
            );
            assert_eq!(response.header("content-range"), None);
            assert_eq!(response.header("accept-ranges"), Some("bytes"));
        }
        let response = client.request("OPTIONS", "/data.bin", &[("Range", "bytes=0-9")]);
        assert_eq!(response.status, 204);
    });
}

/// Trap 43.
#[test]
fn if_range_decides_about_several_ranges_too() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let etag = client
            .get("/data.bin")
            .header("etag")
            .expect("an ETag")
            .to_owned();
        for (condition, status) in [(etag.clone(), 206), (format!("W/{etag}"), 200)] {
            let fields = [("Range", "bytes=0-1,5-6"), ("If-Range", condition.as_str())];
            assert_eq!(
                client.request("GET", "/data.bin", &fields).status,
                status,
                "{condition}"
            );
        }
        // Without a range it means nothing.
        let fields = [("If-Range", "\"other\"")];
        assert_eq!(client.request("GET", "/data.bin", &fields).status, 200);
    });
}

/// Trap 43: within the second of the change, the date names more than one version.
#[test]
fn if_range_with_a_date_that_is_not_over_gets_the_whole() {
    let tree = tree();
    // Not before the year 2100.
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_102_444_800);
    tree.modified("data.bin", later);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let response = client.get("/data.bin");
        let date = response.header("last-modified").expect("a date").to_owned();
        assert!(response.date("last-modified") <= response.date("date"));
        let fields = [("Range", "bytes=0-1"), ("If-Range", date.as_str())];
        assert_eq!(client.request("GET", "/data.bin", &fields).status, 200);
    });
}

/// Trap 84: what goes with the whole goes with its parts and with "not modified".
#[test]
fn a_part_carries_the_fields_of_the_whole() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let whole = client.get("/data.bin");
        let names = ["etag", "last-modified", "vary", "cache-control", "server"];
        let part = ask(&mut client, "/data.bin", "bytes=0-9");
        let several = ask(&mut client, "/data.bin", "bytes=0-9,20-29");
        let unchanged = client.request("GET", "/data.bin", &[("If-None-Match", "*")]);
        for response in [&part, &several, &unchanged] {
            for name in names {
                assert_eq!(response.header(name), whole.header(name), "{name}");
            }
            response.date("date");
        }
        for response in [&whole, &part, &several] {
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(response.header("accept-ranges"), Some("bytes"));
        }
        assert_eq!(whole.header("content-type"), part.header("content-type"));
        assert_eq!(unchanged.header("content-type"), None);
        assert_eq!(unchanged.header("content-length"), None);
    });
}

/// Trap 26.
#[test]
fn several_ranges_beyond_four_gigabytes_are_exact() {
    let tree = tree();
    let size = (5_u64 << 30) + 17;
    let file = tree.sparse("huge", size);
    let marks = [(1_u64 << 32) - 3, (1 << 32) + 5, size - 6];
    for at in marks {
        file.write_all_at(b"island", at).expect("room");
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let range = format!(
            "bytes={}-{},{}-{},-6",
            marks[0],
            marks[0] + 5,
            marks[1],
            marks[1] + 5
        );
        let parts = parts(&ask(&mut client, "/huge", &range), size);
        let firsts: Vec<_> = parts.iter().map(|part| part.0).collect();
        assert_eq!(firsts, marks);
        assert!(parts.iter().all(|part| part.3 == b"island"));
    });
}

/// A file that is cut while its parts are sent ends the connection before the promised length.
#[test]
fn parts_of_a_file_that_was_cut_short_end_the_connection() {
    let large = 32 << 20;
    let tree = tree();
    each_backend(tree.path(), |server| {
        tree.file("large", content(2, large));
        let mut client = Client::connect(server.addr());
        let half = large / 2;
        let range = format!("bytes=0-{},{}-", half - 2, half);
        client.send(format!("GET /large HTTP/1.1\r\nHost: t\r\nRange: {range}\r\n\r\n").as_bytes());
        let head = client.read_head().expect("a response");
        assert_eq!(head.status, 206);
        let file = fs::File::options()
            .write(true)
            .open(tree.path().join("large"));
        file.and_then(|file| file.set_len(0)).expect("own file");
        let mut body = Vec::new();
        // A reset is as good.
        let _ = std::io::Read::read_to_end(&mut client, &mut body);
        assert!((body.len() as u64) < head.content_length());
        assert_eq!(Client::connect(server.addr()).get("/note.txt").status, 200);
    });
}

/// What an answer must be made of, computed a byte at a time.
#[test]
fn any_set_of_ranges_selects_the_bytes_it_names() {
    let tree = tree();
    let whole = content(1, SIZE);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let name = "any_set_of_ranges_selects_the_bytes_it_names";
        rng::schedules(name, 2, 400, |rng| {
            let mut wanted = vec![false; SIZE];
            let (mut specs, mut total) = (Vec::new(), 0);
            for _ in 0..rng.usize(1..8) {
                let first = rng.usize(..SIZE + 2000);
                let last = first + rng.usize(..2500);
                let suffix = rng.u8(..5) == 0;
                specs.push(if suffix {
                    format!("-{}", last - first)
                } else {
                    format!("{first}-{last}")
                });
                let bytes = if suffix {
                    SIZE - (last - first)..SIZE
                } else {
                    first.min(SIZE)..(last + 1).min(SIZE)
                };
                total += bytes.len();
                wanted[bytes].fill(true);
            }
            let range = format!("bytes={}", specs.join(","));
            let response = ask(&mut client, "/data.bin", &range);
            if total > SIZE {
                assert!(response.status == 200 && response.body == whole, "{range}");
                return;
            }
            if total == 0 {
                assert_eq!(response.status, 416, "{range}");
                return;
            }
            let found = match response.header("content-range") {
                Some(text) => {
                    let ends = text
                        .strip_prefix("bytes ")
                        .and_then(|text| text.strip_suffix("/10000"));
                    let (first, last) = ends.and_then(|ends| ends.split_once('-')).expect("ends");
                    let (first, last) = (first.parse().expect("one"), last.parse().expect("one"));
                    vec![(first, last, String::new(), response.body.clone())]
                }
                None => parts(&response, SIZE as u64),
            };
            for (first, last, _, bytes) in found {
                let (first, last) = (first as usize, last as usize);
                assert!(bytes == whole[first..=last], "{range}");
                assert!(
                    wanted[first..=last].iter().all(|byte| *byte),
                    "{range}: twice or unasked"
                );
                wanted[first..=last].fill(false);
                let apart = |at: Option<&bool>| at.is_none_or(|byte| !byte);
                let before = first.checked_sub(1).and_then(|at| wanted.get(at));
                assert!(
                    apart(before) && apart(wanted.get(last + 1)),
                    "{range}: not merged"
                );
            }
            assert!(!wanted.contains(&true), "{range}: something is missing");
        });
    });
}
