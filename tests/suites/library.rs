//! The server inside another program: hooks, routes with streaming bodies, sites by name.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use ambidex::disk::{Choice, Options};
use ambidex::net::TcpListener;
use ambidex::{Engine, Handle};
use ambidex_server::{Answer, Change, Config, HeaderRule, Policy, Reply, Server, Site, Stop};
use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Backend, backends};
use ambidex_tests::tree::Tree;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a.txt", "alpha").file("folder/b.txt", "beta");
    tree
}

/// Runs `test` against what `build` makes, on an engine of each backend in a thread of its own.
fn each(build: impl AsyncFn(&Handle, Site) -> Server + Sync, test: impl Fn(SocketAddr)) {
    for backend in backends() {
        let (tree, stop) = (tree(), Stop::default());
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let running = scope.spawn(|| {
                let choice = match backend {
                    Backend::Uring => Choice::Uring,
                    Backend::Threads => Choice::Threads,
                };
                let disk = Options {
                    choice,
                    ..Options::default()
                };
                let mut engine = Engine::builder().disk(disk).build().expect("an engine");
                let served = engine.run(async |io| {
                    let site = Site::open(&io, tree.path()).await?;
                    let server = build(&io, site).await;
                    let listener = TcpListener::bind(io.net(), ([127, 0, 0, 1], 0).into())?;
                    sender.send(listener.local_addr()?).expect("the test waits");
                    server.serve(&io, listener, &stop).await
                });
                served.expect("the engine runs").expect("it serves");
            });
            let address = receiver.recv().expect("an address");
            let stopped = StopOnDrop(&stop);
            test(address);
            // The worker still serves after all that.
            let mut client = Client::connect(address);
            let response = client.request("GET", "/a.txt", &[("Authorization", "good")]);
            assert_eq!(response.body, b"alpha");
            drop((client, stopped));
            running.join().expect("no panic");
        });
    }
}

/// A test that fails must not wait for a server that nobody stops.
struct StopOnDrop<'a>(&'a Stop);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Reads exactly these bytes of a body.
fn expect_body(client: &mut Client, expected: &[u8]) {
    let mut body = vec![0; expected.len()];
    client.read_exact(&mut body).expect("a body");
    assert_eq!(
        String::from_utf8_lossy(&body),
        String::from_utf8_lossy(expected)
    );
}

#[test]
fn a_hook_before_answers_instead_of_files_routes_and_redirects() {
    let build = async |_: &Handle, site| {
        Server::new(site)
            .before(async |request| {
                match (request.path().as_slice(), request.field("authorization")) {
                    (b"/login", _) => Some(Answer::redirect(302, "/a.txt?from=login")),
                    (b"/closed", _) => Some(
                        Answer::new(403)
                            .field("Content-Type", "text/plain")
                            .body("no"),
                    ),
                    (_, Some("good")) => None,
                    _ => Some(Answer::new(401).field("WWW-Authenticate", "Basic realm=\"x\"")),
                }
            })
            .route("/route", async |_, reply| {
                reply.send(Answer::new(200).body("route")).await
            })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        for (method, path) in [
            ("GET", "/a.txt"),
            ("HEAD", "/missing"),
            ("GET", "/route"),
            ("DELETE", "/a.txt"),
        ] {
            let response = client.request(method, path, &[]);
            assert_eq!(response.status, 401, "{method} {path}");
            assert_eq!(
                response.header("www-authenticate"),
                Some("Basic realm=\"x\"")
            );
            assert!(response.body.is_empty());
        }
        let login = client.get("/login");
        assert_eq!(
            (login.status, login.header("location")),
            (302, Some("/a.txt?from=login"))
        );
        let closed = client.get("/./x/../closed");
        assert_eq!((closed.status, closed.body.as_slice()), (403, &b"no"[..]));
        assert_eq!(client.request("HEAD", "/closed", &[]).content_length(), 2);
        let good = ("Authorization", "good");
        assert_eq!(client.request("GET", "/a.txt", &[good]).body, b"alpha");
        assert_eq!(client.request("GET", "/route", &[good]).body, b"route");
    });
}

#[test]
fn a_hook_after_sees_every_head_last() {
    let build = async |_: &Handle, site| {
        let policy = Policy {
            headers: vec![HeaderRule::new(
                "**",
                "X-Policy",
                Change::Set("1".to_owned()),
            )],
            ..Policy::default()
        };
        Server::new(site)
            .config(Config {
                policy,
                ..Config::default()
            })
            .after(|request, answer| {
                let status = answer.status().to_string();
                answer.set("X-Status", &status).expect("a good field");
                answer.remove("Server");
                answer.remove("Content-Length");
                assert_eq!(
                    answer.set("X-Bad", "a\r\nb: c").unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert!(
                    answer.set("Content-Length", "1").is_err() && answer.set("X A", "b").is_err()
                );
                if request.field("x-ask").is_some() {
                    answer.remove("X-Policy");
                }
            })
            .route("/route", async |_, reply| {
                reply.send(Answer::new(202)).await
            })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        for (path, status) in [
            ("/a.txt", "200"),
            ("/missing", "404"),
            ("/folder", "301"),
            ("/route", "202"),
        ] {
            let response = client.get(path);
            assert_eq!(response.header("x-status"), Some(status), "{path}");
            assert_eq!(
                (response.header("server"), response.header("x-policy")),
                (None, Some("1"))
            );
            assert_eq!(response.header("x-bad"), None);
        }
        assert_eq!(
            client
                .request("GET", "/a.txt", &[("X-Ask", "y")])
                .header("x-policy"),
            None
        );
    });
}

#[test]
fn routes_are_exact_or_begin_so_and_see_the_request() {
    let build = async |_: &Handle, site| {
        Server::new(site)
            .route("/exact", async |request, reply| {
                let text = format!(
                    "{} {} {:?} {:?} {:?}",
                    request.method(),
                    String::from_utf8_lossy(&request.path()),
                    request.query(),
                    request.host(),
                    request.field("x-own")
                );
                reply.send(Answer::new(200).body(text)).await
            })
            .route("/api/*", async |request, reply| {
                reply.send(Answer::new(200).body(request.path())).await
            })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        let response = client.request("GET", "/%65xact?a=1", &[("X-Own", "yes")]);
        assert_eq!(
            response.body,
            br#"GET /exact Some("a=1") Some("test") Some("yes")"#
        );
        assert_eq!(client.get("/exact/").status, 404);
        assert_eq!(client.get("/api/x/%2e%2e/y/").body, b"/api/y/");
        assert_eq!(client.get("/api").status, 404);
        // A short body is passed over, and the next request is read from behind it.
        client.send(b"POST /exact HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nGET GET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(
            client
                .read_response(false)
                .body
                .starts_with(b"POST /exact None")
        );
        assert_eq!(client.read_response(false).body, b"alpha");
    });
}

#[test]
fn a_body_of_unknown_length_is_chunked_and_to_http_1_0_ends_with_the_connection() {
    let build = async |io: &Handle, site| {
        let io = io.clone();
        Server::new(site).route("/stream", async move |_, reply| {
            let head = Answer::new(200)
                .field("Content-Type", "text/plain")
                .body("first,");
            let mut body = reply.stream(head, None).await?;
            for piece in ["", "second,", "last"] {
                io.yield_now().await;
                body.write(piece.as_bytes()).await?;
            }
            Ok(())
        })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        for _ in 0..2 {
            client.send(b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
            let head = client.read_head().expect("a head");
            assert_eq!(head.header("transfer-encoding"), Some("chunked"));
            assert_eq!(head.header("content-length"), None);
            expect_body(
                &mut client,
                b"6\r\nfirst,\r\n7\r\nsecond,\r\n4\r\nlast\r\n0\r\n\r\n",
            );
        }
        // HEAD has no body, and what the route does after it does no harm.
        let head = client.request("HEAD", "/stream", &[]);
        assert_eq!(
            (head.status, head.header("transfer-encoding")),
            (200, Some("chunked"))
        );
        assert_eq!(client.get("/a.txt").body, b"alpha");

        let mut old = Client::connect(address);
        old.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let head = old.read_head().expect("a head");
        assert_eq!(
            (head.header("transfer-encoding"), head.header("connection")),
            (None, Some("close"))
        );
        expect_body(&mut old, b"first,second,last");
        old.expect_closed();
    });
}

/// A body of `bytes`, for which `length` was announced.
async fn streamed(reply: Reply<'_>, length: Option<u64>, bytes: &[u8]) -> io::Result<()> {
    let mut body = reply.stream(Answer::new(200), length).await?;
    body.write(bytes).await
}

#[test]
fn a_body_of_known_length_is_exact_or_visibly_cut() {
    let build = async |_: &Handle, site| {
        Server::new(site)
            .route("/exact", async |_, reply| {
                streamed(reply, Some(5), b"12345").await
            })
            .route("/short", async |_, reply| {
                streamed(reply, Some(5), b"123").await
            })
            .route("/long", async |_, reply| {
                let mut body = reply.stream(Answer::new(200), Some(5)).await?;
                body.write(b"1234").await?;
                body.write(b"56").await
            })
            .route("/broken", async |_, reply| {
                streamed(reply, None, b"123").await?;
                Err(ErrorKind::Other.into())
            })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/exact").body, b"12345");
        assert_eq!(client.get("/exact").body, b"12345");
        for (path, sent) in [
            ("/short", &b"123"[..]),
            ("/long", b"1234"),
            ("/broken", b"3\r\n123\r\n"),
        ] {
            let mut client = Client::connect(address);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
            assert_eq!(client.read_head().expect("a head").status, 200);
            expect_body(&mut client, sent);
            client.expect_closed();
        }
    });
}

#[test]
fn a_body_without_length_that_breaks_off_ends_in_a_reset() {
    let build = async |_: &Handle, site| {
        Server::new(site)
            .route("/broken", async |_, reply| {
                streamed(reply, None, b"123").await?;
                Err(ErrorKind::Other.into())
            })
            .route("/panics", async |_, reply| {
                streamed(reply, None, b"123").await?;
                panic!("on purpose");
            })
    };
    each(build, |address| {
        for path in ["/broken", "/panics"] {
            let mut client = Client::connect(address);
            client.send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
            let end = client.read_to_end(&mut Vec::new());
            let error = end.expect_err("an answer that looks whole");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{path}");
        }
    });
}

#[test]
fn what_a_route_cannot_answer_is_500_and_the_connection_goes_on() {
    let build = async |_: &Handle, site| {
        Server::new(site)
            .route("/silent", async |_, _| Ok(()))
            .route("/failed", async |_, _| Err(ErrorKind::Other.into()))
            .route("/split", async |_, reply| {
                reply
                    .send(Answer::new(200).field("X-A", "b\r\nX-C: d").body("secret"))
                    .await
            })
            .route("/framed", async |_, reply| {
                reply
                    .send(Answer::new(200).field("Content-Length", "1"))
                    .await
            })
            .route("/status", async |_, reply| {
                reply.send(Answer::new(100)).await
            })
            .route("/nothing", async |_, reply| {
                reply.send(Answer::new(204).body("ignored")).await
            })
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        for path in ["/silent", "/failed", "/split", "/framed", "/status"] {
            let response = client.get(path);
            assert_eq!((response.status, response.body.len()), (500, 0), "{path}");
            assert_eq!(response.header("x-c"), None);
        }
        let nothing = client.get("/nothing");
        assert_eq!(
            (nothing.status, nothing.header("content-length")),
            (204, None)
        );
        assert_eq!(client.get("/a.txt").body, b"alpha");
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_the_route_and_nobody_else() {
    const PIECES: usize = 256;
    let build = async |_: &Handle, site| {
        Server::new(site).route("/large", async |_, reply| {
            let piece = vec![b'x'; 256 * 1024];
            let mut body = reply
                .stream(Answer::new(200), Some((PIECES * piece.len()) as u64))
                .await?;
            for _ in 0..PIECES {
                body.write(&piece).await?;
            }
            Ok(())
        })
    };
    each(build, |address| {
        let mut slow = Client::connect(address);
        slow.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = slow.read_head().expect("a head");
        assert_eq!(get(address, "/a.txt").body, b"alpha");
        let mut body = vec![0; usize::try_from(head.content_length()).expect("it fits")];
        slow.read_exact(&mut body).expect("the whole body");
        assert!(body.iter().all(|byte| *byte == b'x'));
        assert_eq!(slow.get("/a.txt").body, b"alpha");
    });
}

#[test]
fn sites_by_name_live_beside_the_default_one() {
    let build = async |_: &Handle, site: Site| {
        let policy = Policy {
            redirects: vec![ambidex_server::Redirect::new("/a.txt", "/b", 302)],
            ..Policy::default()
        };
        Server::new(site.clone())
            .host("same.example", site.clone())
            .host_with(
                "*.other.example",
                site,
                ambidex_server::Files::default(),
                policy,
            )
    };
    each(build, |address| {
        let mut client = Client::connect(address);
        for (host, status) in [
            ("same.example", 200),
            ("x.other.example", 302),
            ("else", 200),
        ] {
            client.send(format!("GET /a.txt HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
            assert_eq!(client.read_response(false).status, status, "{host}");
        }
    });
}
