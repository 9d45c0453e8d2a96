//! Conditional and partial requests: validators, 304, 206 and 416.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ambidex_tests::client::Client;
use ambidex_tests::server::each_backend;
use ambidex_tests::tree::{Tree, content};

const MODIFIED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn modified() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// A root with `/data.bin`: 1,000 bytes, last modified at [`modified`].
fn data_tree() -> Tree {
    let tree = Tree::new();
    tree.file("data.bin", content(1, 1000));
    tree.modified("data.bin", modified());
    tree
}

#[test]
fn conditions_are_weighed_as_rfc_9110_orders_them() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let etag = client
            .get("/data.bin")
            .header("etag")
            .expect("an ETag")
            .to_owned();
        let (old, late) = (
            "Sat, 05 Nov 1994 08:49:37 GMT",
            "Mon, 07 Nov 1994 08:49:37 GMT",
        );
        let mut expect = |status: u16, fields: &[(&str, &str)]| {
            let response = client.request("GET", "/data.bin", fields);
            assert_eq!(response.status, status, "{fields:?}");
            assert_eq!(response.header("etag"), Some(etag.as_str()), "{fields:?}");
            assert_eq!(response.body.len(), if status == 200 { 1000 } else { 0 });
        };
        for list in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".into(),
        ] {
            expect(304, &[("If-None-Match", &list)]);
            expect(304, &[("If-None-Match", &list), ("If-Modified-Since", old)]);
            expect(304, &[("If-None-Match", &list), ("Range", "bytes=0-9")]);
        }
        expect(
            304,
            &[("If-None-Match", &format!("W/\"a,b\" ,W/{etag},\"y\""))],
        );
        expect(200, &[("If-None-Match", "\"other\"")]);
        expect(
            200,
            &[("If-None-Match", "\"other\""), ("If-Modified-Since", late)],
        );
        expect(304, &[("If-Modified-Since", MODIFIED_TEXT)]);
        expect(304, &[("If-Modified-Since", late)]);
        expect(
            304,
            &[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")],
        );
        expect(304, &[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")]);
        expect(200, &[("If-Modified-Since", old)]);
        expect(200, &[("If-Modified-Since", "yesterday")]);
        assert_eq!(
            client
                .request("HEAD", "/data.bin", &[("If-None-Match", "*")])
                .status,
            304
        );
        assert_eq!(
            client
                .request("GET", "/missing", &[("If-None-Match", "*")])
                .status,
            404
        );
    });
}

#[test]
fn the_etag_follows_size_and_modification_and_no_file_is_newer_than_now() {
    let tree = data_tree();
    tree.file("future", "later");
    tree.modified("future", UNIX_EPOCH + Duration::from_secs(4_102_444_800));
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let response = client.get("/future");
        assert!(response.date("last-modified") <= response.date("date"));
        let mut etag = |path: &str| client.get(path).header("etag").expect("an ETag").to_owned();
        tree.file("changing", "one");
        tree.modified("changing", modified());
        let first = etag("/changing");
        assert_eq!(first, etag("/changing"));
        tree.modified("changing", modified() + Duration::from_nanos(1000));
        let touched = etag("/changing");
        assert_ne!(first, touched, "a change within one second shows");
        tree.file("changing", "two2");
        tree.modified("changing", modified());
        assert_ne!(first, etag("/changing"));
    });
}

/// Trap 36.
#[test]
fn if_match_and_if_unmodified_since_guard_the_version() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let response = client.get("/data.bin");
        let etag = response.header("etag").expect("an ETag").to_owned();
        let weak = format!("W/{etag}");
        let (tag, weak) = (etag.as_str(), weak.as_str());
        let old = "Sat, 05 Nov 1994 08:49:37 GMT";
        let cases: &[(u16, &[(&str, &str)])] = &[
            (200, &[("If-Match", tag)]),
            (200, &[("If-Match", "*")]),
            (200, &[("If-Match", "\"x\""), ("If-Match", tag)]),
            (412, &[("If-Match", weak)]),
            (412, &[("If-Match", "\"x\"")]),
            (412, &[("If-Match", "")]),
            (412, &[("If-Match", "\"x\""), ("Range", "bytes=0-1")]),
            // If-Match decides alone.
            (200, &[("If-Match", tag), ("If-Unmodified-Since", old)]),
            (
                412,
                &[
                    ("If-Match", "\"x\""),
                    ("If-Unmodified-Since", MODIFIED_TEXT),
                ],
            ),
            (200, &[("If-Unmodified-Since", MODIFIED_TEXT)]),
            (412, &[("If-Unmodified-Since", old)]),
            (200, &[("If-Unmodified-Since", "soon")]),
            (412, &[("If-Unmodified-Since", old), ("If-None-Match", tag)]),
            // Then If-None-Match.
            (304, &[("If-Match", tag), ("If-None-Match", tag)]),
            (
                304,
                &[("If-Match", tag), ("If-Modified-Since", MODIFIED_TEXT)],
            ),
            (304, &[("If-None-Match", "\"x\""), ("If-None-Match", weak)]),
            (
                200,
                &[("If-None-Match", "\"x\""), ("If-None-Match", "\"y\"")],
            ),
            // Then If-Range.
            (
                206,
                &[("If-Match", tag), ("If-Range", tag), ("Range", "bytes=0-1")],
            ),
            (206, &[("If-None-Match", "\"x\""), ("Range", "bytes=0-1")]),
        ];
        for (status, fields) in cases {
            for method in ["GET", "HEAD"] {
                let response = client.request(method, "/data.bin", fields);
                // To HEAD a range is nothing.
                let expected = if method == "HEAD" && *status == 206 {
                    200
                } else {
                    *status
                };
                assert_eq!(response.status, expected, "{method} {fields:?}");
                response.date("date");
            }
        }
        // Conditions are about what would have been sent.
        for (path, status) in [("/missing", 404), ("/%zz", 400)] {
            let mut client = Client::connect(server.addr());
            let response = client.request("GET", path, &[("If-Match", "\"x\"")]);
            assert_eq!(response.status, status);
        }
    });
}

/// Trap 34.
#[test]
fn a_date_of_change_that_http_cannot_say_is_no_harm() {
    let tree = data_tree();
    let at = |seconds: i64| {
        let length = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            UNIX_EPOCH - length
        } else {
            UNIX_EPOCH + length
        }
    };
    // The epoch, before it, after 2038, after 2106, after the year 9999.
    let seconds = [0, -1, -1_000_000_000, 1 << 31, 1 << 33, 253_402_300_800];
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let mut etags = Vec::new();
        for second in seconds {
            let path = format!("at{second}");
            tree.file(&path, "x");
            let file = std::fs::File::options()
                .write(true)
                .open(tree.path().join(&path));
            if let Err(error) = file.and_then(|file| file.set_modified(at(second))) {
                eprintln!("SKIPPED second {second}: the file system says {error}");
                continue;
            }
            let response = client.get(&format!("/{path}"));
            assert_eq!(response.status, 200, "{second}");
            let known = response.header("last-modified").is_some();
            assert!(known || !(0..=1 << 33).contains(&second), "{second}");
            if known {
                assert!(response.date("last-modified") <= response.date("date"));
            }
            for name in ["If-Modified-Since", "If-Unmodified-Since", "If-Range"] {
                let fields = [(name, MODIFIED_TEXT), ("Range", "bytes=0-")];
                let status = client.request("GET", &format!("/{path}"), &fields).status;
                assert!(
                    [200, 206, 304, 412].contains(&status),
                    "{second} {name} {status}"
                );
            }
            etags.push(response.header("etag").expect("an ETag").to_owned());
        }
        etags.sort();
        etags.dedup();
        assert!(etags.len() > 1);
        assert_eq!(client.get("/data.bin").status, 200);
    });
}

/// Trap 83.
#[test]
fn every_answer_carries_a_date_and_no_version() {
    let tree = data_tree();
    tree.dir("dir");
    each_backend(tree.path(), |server| {
        for (request, status) in [
            ("GET /data.bin HTTP/1.1\r\nHost: t", 200),
            ("GET /data.bin HTTP/1.1\r\nHost: t\r\nRange: bytes=0-1", 206),
            ("GET /dir HTTP/1.1\r\nHost: t", 301),
            ("GET /data.bin HTTP/1.1\r\nHost: t\r\nIf-None-Match: *", 304),
            ("GET /data.bin HTTP/1.1", 400),
            ("GET /missing HTTP/1.1\r\nHost: t", 404),
            ("POST /data.bin HTTP/1.1\r\nHost: t", 405),
            ("GET /data.bin HTTP/1.1\r\nHost: t\r\nIf-Match: \"x\"", 412),
            (
                "GET /data.bin HTTP/1.1\r\nHost: t\r\nRange: bytes=1000-",
                416,
            ),
            ("BREW /data.bin HTTP/1.1\r\nHost: t", 501),
            ("GET /data.bin HTTP/4.0\r\nHost: t", 505),
        ] {
            let mut client = Client::connect(server.addr());
            client.send(format!("{request}\r\n\r\n").as_bytes());
            let response = client.read_response(false);
            assert_eq!(response.status, status, "{request}");
            assert!(response.date("date") > modified(), "{request}");
            assert_eq!(response.header("server"), Some("ambidex"), "{request}");
        }
    });
}

/// Trap 32, with no help from `set_modified`.
#[test]
fn a_rewrite_within_the_same_second_changes_the_etag() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let mut seen = Vec::new();
        let mut stamps = Vec::new();
        for round in 0..50_u8 {
            tree.file("changing", [round; 100]);
            let metadata = std::fs::metadata(tree.path().join("changing")).expect("own file");
            stamps.push(metadata.modified().expect("a time"));
            let response = client.get("/changing");
            assert_eq!(response.body, [round; 100]);
            seen.push(response.header("etag").expect("an ETag").to_owned());
        }
        // As fine as the file system's clock is, and no coarser.
        for pair in 1..seen.len() {
            let (stamp, tag) = (
                stamps[pair] == stamps[pair - 1],
                seen[pair] == seen[pair - 1],
            );
            assert_eq!(stamp, tag, "round {pair}");
        }
        seen.sort();
        seen.dedup();
        assert!(
            seen.len() > 1,
            "fifty versions in well under a second, or in several"
        );
    });
}

#[test]
fn a_single_byte_range_is_served_clamped_or_refused() {
    let tree = data_tree();
    let whole = content(1, 1000);
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let ranges = [
            ("bytes=0-9", 0, 9),
            ("bytes=0-0", 0, 0),
            ("bytes=5-", 5, 999),
            ("bytes=-5", 995, 999),
            ("bytes=999-", 999, 999),
            ("bytes=990-5000", 990, 999),
            ("bytes=-5000", 0, 999),
            ("bytes=0-999", 0, 999),
        ];
        for (range, first, last) in ranges {
            let response = client.request("GET", "/data.bin", &[("Range", range)]);
            assert_eq!(response.status, 206, "{range}");
            let expected = format!("bytes {first}-{last}/1000");
            assert_eq!(
                response.header("content-range"),
                Some(expected.as_str()),
                "{range}"
            );
            assert!(response.header("etag").is_some(), "{range}");
            assert!(response.body == whole[first..=last], "{range}");
        }
        for range in [
            "bytes=1000-",
            "bytes=5000-6000",
            "bytes=-0",
            "bytes=1000-1000",
        ] {
            let response = client.request("GET", "/data.bin", &[("Range", range)]);
            assert_eq!(response.status, 416, "{range}");
            assert_eq!(
                response.header("content-range"),
                Some("bytes */1000"),
                "{range}"
            );
        }
        let ignored = [
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=--5",
            "items=0-1",
            "0-1",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1-2-3",
        ];
        for range in ignored {
            let response = client.request("GET", "/data.bin", &[("Range", range)]);
            assert_eq!(response.status, 200, "{range}");
            assert!(response.body == whole && response.header("content-range").is_none());
        }
        let huge = "9".repeat(30);
        let status = |client: &mut Client, range: String| {
            client
                .request("GET", "/data.bin", &[("Range", &range)])
                .status
        };
        assert!([200, 416].contains(&status(&mut client, format!("bytes={huge}-"))));
        assert!([200, 206].contains(&status(&mut client, format!("bytes=0-{huge}"))));
        assert!([200, 206].contains(&status(&mut client, format!("bytes=-{huge}"))));
        assert_eq!(
            status(&mut client, "bytes=18446744073709551615-".to_owned()),
            416
        );
    });
}

#[test]
fn if_range_serves_a_part_only_of_the_version_it_names() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let etag = client
            .get("/data.bin")
            .header("etag")
            .expect("an ETag")
            .to_owned();
        let cases = [
            (etag.as_str(), 206),
            (MODIFIED_TEXT, 206),
            (&format!("W/{etag}"), 200),
            ("\"other\"", 200),
            ("Mon, 07 Nov 1994 08:49:37 GMT", 200),
            ("Sat, 05 Nov 1994 08:49:37 GMT", 200),
            ("nonsense", 200),
        ];
        for (validator, status) in cases {
            let fields = [("Range", "bytes=0-9"), ("If-Range", validator)];
            let response = client.request("GET", "/data.bin", &fields);
            assert_eq!(response.status, status, "{validator}");
            assert_eq!(response.body.len(), if status == 206 { 10 } else { 1000 });
        }
        let fields = [("Range", "bytes=1000-"), ("If-Range", "\"other\"")];
        assert_eq!(client.request("GET", "/data.bin", &fields).status, 200);
    });
}
