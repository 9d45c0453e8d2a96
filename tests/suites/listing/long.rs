//! Long listings, and many.

use std::fs;

use super::*;

#[test]
fn a_listing_that_is_cut_says_so() {
    let tree = Tree::new();
    for name in 0..30 {
        tree.file(format!("{name}"), "x");
    }
    let files = Files {
        listing_max: 10,
        ..listing(Listing::Both)
    };
    each_backend(tree.path(), &files, |server| {
        let response = server.get("/?format=json");
        assert_eq!(list(&response).len(), 10);
        assert_eq!(response.header("listing-truncated"), Some("true"));
        let page = text(&server.get("/"));
        assert!(page.contains("only 10 entries are listed"), "{page}");
    });
    let files = Files {
        listing_max: 30,
        ..listing(Listing::Both)
    };
    each_backend(tree.path(), &files, |server| {
        let response = server.get("/?format=json");
        assert_eq!(list(&response).len(), 30);
        assert_eq!(response.header("listing-truncated"), None);
    });
}

#[test]
fn a_head_of_a_listing_has_no_body_and_the_connection_goes_on() {
    let tree = Tree::new();
    for name in 0..2_000 {
        tree.file(format!("many/{name}"), "");
    }
    tree.file("few/a", "a");
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        let mut client = server.client();
        for path in ["/many/", "/few/", "/few/?format=json"] {
            let response = client.request("HEAD", path, &[]);
            assert_eq!(response.status, 200, "{path}");
            assert_eq!(
                client.get("/few/a").body,
                b"a",
                "nothing came after the head"
            );
        }
    });
}

#[test]
fn a_hundred_thousand_entries_come_in_chunks_and_hold_nobody_up() {
    const COUNT: usize = 100_000;
    let tree = Tree::new();
    tree.file("page", "page").dir("many");
    let many = tree.path().join("many");
    fs::write(many.join("0"), "x").expect("a new file");
    // Links take no inode of their own.
    for name in 1..COUNT {
        // A filesystem may limit the links of one file; a new one then.
        if fs::hard_link(many.join("0"), many.join(name.to_string())).is_err() {
            fs::write(many.join(name.to_string()), "x").expect("a new file");
        }
    }
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        let mut client = server.client();
        client.send(b"GET /many/?format=json HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(server.get("/page").body, b"page", "while it is being made");
        let response = read_framed(&mut client);
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!(response.header("listing-truncated"), None);
        // As text: to parse it would take longer than all the rest.
        let listed = text(&response);
        let names: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("{\"name\":\"")?.split('"').next())
            .collect();
        assert_eq!(names.len(), COUNT);
        assert!(names.is_sorted());
        assert_eq!(client.get("/page").body, b"page", "the connection goes on");
    });
}

#[test]
fn a_long_listing_is_whole_in_every_order_and_form() {
    const COUNT: usize = 3_000;
    let tree = Tree::new();
    for name in 0..COUNT {
        tree.file(format!("many/{name}"), "x");
    }
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        let mut client = server.client();
        for order in ["name&order=desc", "size", "size&order=desc", "time"] {
            let path = format!("/many/?format=json&sort={order}");
            let mut names = names(&request(&mut client, &path, ""));
            if order.starts_with("size") {
                assert!(names.is_sorted(), "equals are in the order of their names");
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), COUNT, "{order}");
        }
        let page = text(&request(&mut client, "/many/", ""));
        assert_eq!(page.matches("<a href=\"./").count(), COUNT);
        assert!(page.ends_with("</html>\n"));
    });
}

#[test]
fn a_long_listing_for_http_1_0_ends_with_the_connection() {
    let tree = Tree::new();
    for name in 0..2_000 {
        tree.file(format!("many/{name}"), "");
    }
    tree.file("few/a", "a");
    each_backend(tree.path(), &listing(Listing::Json), |server| {
        let mut client = server.client();
        client.send(b"GET /many/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let mut response = client.read_head().expect("a head");
        assert_eq!(response.header("transfer-encoding"), None);
        assert_eq!(response.header("content-length"), None);
        assert_eq!(response.header("connection"), Some("close"));
        client.read_to_end(&mut response.body).expect("the end");
        assert_eq!(list(&response).len(), 2_000);
        // A short one has a length, and the connection goes on.
        let mut client = server.client();
        client.send(b"GET /few/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(list(&client.read_response(false)).len(), 1);
        assert_eq!(client.get("/few/a").body, b"a");
    });
}

#[test]
fn short_listings_do_not_wait_for_clients_that_read_no_long_one() {
    let tree = Tree::new();
    let long = "\n".repeat(200);
    // Each takes 1.4 KB of the page.
    for name in 0..6_000 {
        tree.file(format!("many/{long}{name}"), "");
    }
    tree.file("few/a", "a");
    each_backend(tree.path(), &listing(Listing::Html), |server| {
        // Their socket buffers take some of it, never all 8 MB.
        let mut stuck: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for client in &mut stuck {
            client.send(b"GET /many/ HTTP/1.1\r\nHost: t\r\n\r\n");
            client.read_head().expect("it has begun");
        }
        for _ in 0..20 {
            assert!(text(&server.get("/few/")).contains("\"./a\""));
        }
    });
}

#[test]
fn more_listings_than_are_made_at_a_time_are_all_answered() {
    let tree = Tree::new();
    for name in 0..1_200 {
        tree.file(format!("{name}"), "");
    }
    each_backend(tree.path(), &listing(Listing::Json), |server| {
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(list(&read_framed(client)).len(), 1_200);
        }
    });
}
