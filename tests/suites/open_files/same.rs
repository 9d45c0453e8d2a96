//! What is kept changes no answer: not for another host, another client, another question.

use std::time::Duration;

use ambidex_server::{Answer, Config, Cors, Encoding, Files, Policy, Server, Symlinks};
use ambidex_tests::sim::backends;
use ambidex_tests::sim::disk::Disk;
use ambidex_tests::tree::Tree;

use crate::scene::{Scene, config, in_memory, on_backend, on_disk};

/// Asks each question again and again, in turn, and asserts what is told of its answer.
async fn in_turn(
    scene: &Scene,
    questions: &[(&[&str], &str)],
    told: impl Fn(&str, &str) -> String,
) {
    for _ in 0..4 {
        for (question, expected) in questions {
            let answer = scene.ask(question).await;
            assert_eq!(told(&answer.head, &answer.body), *expected, "{question:?}");
        }
    }
}

fn status_and_body(head: &str, body: &str) -> String {
    let status = head.get(9..12).expect("a status");
    format!("{status} {}", body.trim_end())
}

/// Whatever one host allows, another may not.
#[test]
fn each_host_has_its_own() {
    let tree = Tree::new();
    tree.file("index.html", "the one")
        .file("other.html", "the other")
        .file(".hidden", "secret")
        .symlink("index.html", "link");
    let other = Files {
        index: vec!["other.html".to_owned()],
        hidden: true,
        symlinks: Symlinks::None,
        ..Files::default()
    };
    for choice in backends("each_host_has_its_own") {
        let server = |site: ambidex_server::Site| {
            let policy = Policy::default();
            Server::new(site.clone()).host_with("other", site, other.clone(), policy)
        };
        on_backend(choice, tree.path(), server, async |scene| {
            let questions: [(&[&str], &str); 6] = [
                (&["GET / HTTP/1.1"], "200 the one"),
                (&["GET / HTTP/1.1", "Host: other"], "200 the other"),
                (&["GET /link HTTP/1.1"], "200 the one"),
                (&["GET /link HTTP/1.1", "Host: other"], "404 404 Not Found"),
                (&["GET /.hidden HTTP/1.1", "Host: other"], "200 secret"),
                (&["GET /.hidden HTTP/1.1"], "404 404 Not Found"),
            ];
            in_turn(scene, &questions, status_and_body).await;
        });
    }
}

#[test]
fn each_client_has_the_form_that_it_takes() {
    let tree = Tree::new();
    tree.file("page.html", "plain")
        .file("page.html.gz", "gzip")
        .file("page.html.br", "brotli")
        .file("application.html", "the application");
    let files = Files {
        precompressed: vec![Encoding::Brotli, Encoding::Gzip],
        fallback: Some("application.html".to_owned()),
        ..Files::default()
    };
    on_disk(tree.path(), &config(1000, files), async |scene| {
        let page = "GET /page.html HTTP/1.1";
        let questions: [(&[&str], &str); 8] = [
            (&[page], "- plain"),
            (&[page, "Accept-Encoding: gzip"], "gzip gzip"),
            (&[page, "Accept-Encoding: br"], "br brotli"),
            (&[page, "Accept-Encoding: gzip, br"], "br brotli"),
            (&[page, "Accept-Encoding:"], "- plain"),
            (&[page, "Accept-Encoding: zstd"], "- plain"),
            (
                &["GET /x HTTP/1.1", "Accept: text/html"],
                "- the application",
            ),
            (&["GET /x HTTP/1.1", "Accept: image/png"], "- 404 Not Found"),
        ];
        in_turn(scene, &questions, |head, body| {
            let encoding = ambidex_tests::loops::field(head, "Content-Encoding");
            format!("{} {}", encoding.unwrap_or("-"), body.trim_end())
        })
        .await;
    });
}

/// Only a GET of all of it; what else a request says is looked at each time.
#[test]
fn each_question_has_its_own_answer() {
    let tree = Tree::new();
    tree.file("file", "0123456789");
    on_disk(tree.path(), &Config::default(), async |scene| {
        scene.expect("/file", "0123456789").await;
        let first = scene.ask(&["GET /file HTTP/1.1"]).await;
        let (tag, modified) = (first.field("ETag"), first.field("Last-Modified"));
        let known = format!("If-None-Match: {}", tag.expect("a tag"));
        let since = format!("If-Modified-Since: {}", modified.expect("a time"));
        let get = "GET /file HTTP/1.1";
        let questions: [(&[&str], &str); 11] = [
            (&[get], "200 0123456789"),
            (&[get, "Range: bytes=2-3"], "206 23"),
            (&[get, &known], "304 "),
            (&[get, "If-None-Match: \"other\""], "200 0123456789"),
            (&[get, &since], "304 "),
            (&[get, "If-Match: \"other\""], "412 412 Precondition Failed"),
            (
                &[get, "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"],
                "412 412 Precondition Failed",
            ),
            (&[get, "Expect: a miracle"], "417 417 Expectation Failed"),
            (&["HEAD /file HTTP/1.1"], "200 "),
            (&["POST /file HTTP/1.1"], "405 405 Method Not Allowed"),
            (&["GET /file?query HTTP/1.1"], "200 0123456789"),
        ];
        in_turn(scene, &questions, status_and_body).await;
        // All but what tells them apart is as it was when nothing was kept.
        let head = scene.ask(&[get]).await.head;
        assert_eq!(head, first.head);
        let head = scene.ask(&["HEAD /file HTTP/1.1"]).await.head;
        assert_eq!(head, first.head);
        let last = scene.ask(&[get, "Connection: close"]).await;
        assert_eq!(last.body, "0123456789");
        assert_eq!(last.field("Connection"), Some("close"));
    });
}

#[test]
fn the_date_is_that_of_the_answer() {
    in_memory(10, Disk::Local, async |scene, disk| {
        disk.file("site/file", b"one".to_vec());
        let half = Duration::from_millis(500);
        scene.clock.pass(half);
        scene.expect("/file", "one").await;
        disk.rewrite_within_the_tick("site/file", b"two".to_vec());
        let request = ["GET /file HTTP/1.1"];
        let before = scene.ask(&request).await;
        scene.clock.pass(half);
        let after = scene.ask(&request).await;
        assert_eq!((&*before.body, &*after.body), ("one", "one"));
        let date = |answer: &crate::scene::Answer| {
            let date = answer.field("Date").expect("a date");
            httpdate::parse_http_date(date).expect("a date")
        };
        assert_eq!(date(&after), date(&before) + Duration::from_secs(1));
    });
}

#[test]
fn programs_look_at_each_request() {
    let tree = Tree::new();
    tree.file("file", "text");
    let get = "GET /file HTTP/1.1";
    for choice in backends("programs_look_at_each_request") {
        let server = |site| {
            Server::new(site).before(async |request| {
                let known = request.field("authorization") == Some("me");
                (!known).then(|| Answer::new(401))
            })
        };
        on_backend(choice, tree.path(), server, async |scene| {
            let questions: [(&[&str], &str); 2] = [
                (&[get, "Authorization: me"], "200 text"),
                (&[get, "Authorization: you"], "401 "),
            ];
            in_turn(scene, &questions, status_and_body).await;
        });
        let server = |site| {
            Server::new(site).after(|request, answer| {
                let echo = request.field("echo").unwrap_or("none");
                answer.set("Echo", echo).expect("a field");
            })
        };
        on_backend(choice, tree.path(), server, async |scene| {
            let questions: [(&[&str], &str); 2] = [
                (&[get, "Echo: one"], "one"),
                (&[get, "Echo: other"], "other"),
            ];
            in_turn(scene, &questions, |head, _| {
                let echo = ambidex_tests::loops::field(head, "Echo");
                echo.expect("a field").to_owned()
            })
            .await;
        });
    }
}

#[test]
fn origins_are_those_of_the_request() {
    let tree = Tree::new();
    tree.file("file", "text");
    let cors = Cors {
        origins: vec!["https://one".to_owned(), "https://other".to_owned()],
        ..Cors::default()
    };
    let config = Config {
        policy: Policy {
            cors: Some(cors),
            ..Policy::default()
        },
        ..Config::default()
    };
    on_disk(tree.path(), &config, async |scene| {
        let get = "GET /file HTTP/1.1";
        let questions: [(&[&str], &str); 3] = [
            (&[get, "Origin: https://one"], "https://one"),
            (&[get, "Origin: https://other"], "https://other"),
            (&[get], "-"),
        ];
        in_turn(scene, &questions, |head, _| {
            let allowed = ambidex_tests::loops::field(head, "Access-Control-Allow-Origin");
            allowed.unwrap_or("-").to_owned()
        })
        .await;
    });
}
