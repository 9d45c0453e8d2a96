//! Trap 61: what a client asks before it has read earlier answers.

use ambidex_tests::client::Client;
use ambidex_tests::server::{each_backend, eventually};
use ambidex_tests::tree::content;

use crate::fragments::FarEnd;
use crate::tree;

/// More than the socket buffers of both sides hold.
const LARGE: usize = 32 << 20;

#[test]
fn requests_are_not_read_while_an_answer_is_being_sent() {
    let tree = tree();
    tree.file("large", content(6, LARGE));
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let large = "GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
        let small = "GET /b HTTP/1.1\r\nHost: t\r\n\r\n";
        client.send(large.as_bytes());
        let head = client.read_head().expect("a response");
        assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
        let count = 3000;
        client.send(small.repeat(count).as_bytes());
        // One read at most may have been under way.
        let far = FarEnd::of(server, &client);
        let kept_out = small.len() * count - 64 * 1024;
        eventually("requests wait in the kernel", || {
            far.unread() >= kept_out as u64
        });
        let mut body = vec![0; LARGE];
        std::io::Read::read_exact(&mut client, &mut body).expect("the whole body");
        assert!(body == content(6, LARGE));
        for _ in 0..count {
            assert_eq!(client.read_response(false).body, b"beta");
        }
        assert_eq!(client.get("/a").body, b"alpha");
    });
}

#[test]
fn nothing_is_answered_after_an_answer_that_closes() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let get = "GET /a HTTP/1.1\r\nHost: t\r\n\r\n";
        for (last, status) in [
            (
                "GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
                200,
            ),
            ("GET /a HTTP/1.0\r\n\r\n", 200),
            ("GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", 400),
            ("GET /a HTTP/1.1\r\n\r\n", 400),
            (
                "POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n",
                405,
            ),
        ] {
            let mut client = Client::connect(server.addr());
            client.send(format!("{get}{get}{last}{get}{get}").as_bytes());
            assert_eq!(client.read_response(false).body, b"alpha");
            assert_eq!(client.read_response(false).body, b"alpha");
            let response = client.read_response(false);
            assert_eq!(response.status, status, "{last}");
            assert_eq!(response.header("connection"), Some("close"), "{last}");
            client.expect_closed();
        }
    });
}

/// A plain close with unread input would send RST, which overtakes what is still on its way.
#[test]
fn what_a_client_sends_after_it_asked_to_close_costs_nothing_of_its_answer() {
    let tree = tree();
    tree.file("large", content(6, LARGE));
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        client.send(b"GET /large HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let head = client.read_head().expect("a response");
        assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
        client.send(&[b'\n'; 10_000]);
        let mut body = vec![0; LARGE];
        std::io::Read::read_exact(&mut client, &mut body).expect("the whole body");
        assert!(body == content(6, LARGE));
        client.expect_closed();
    });
}
