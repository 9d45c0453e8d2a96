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
            "bytes=0-1,3-4",
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
