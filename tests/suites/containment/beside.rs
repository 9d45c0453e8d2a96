//! What is opened beside the target, and how far links and mounts are followed.

use super::*;
use ambidex_server::{Encoding, Files, Listing, Symlinks};
use ambidex_tests::hosted::{self, Hosted};
use ambidex_tests::rig::skipped;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

/// Everything that is opened beside what was asked for.
fn everything() -> Files {
    Files {
        listing: Listing::Both,
        precompressed: Encoding::ALL.to_vec(),
        clean_urls: true,
        page_404: Some("404.html".to_owned()),
        page_50x: Some("404.html".to_owned()),
        fallback: Some("app.html".to_owned()),
        ..Files::default()
    }
}

/// Targets, with the `Accept` that has them answered, for which something else is opened.
const BESIDE: [(&str, &str); 6] = [
    ("/indexed/", "*/*"),
    ("/clean", "*/*"),
    ("/page.css", "*/*"),
    ("/missing.png", "*/*"),
    ("/app/route", "text/html"),
    ("/list/", "application/json"),
];

/// Each file of [`everything`] as it should be in `root/`, and as a link that leads outside in
/// `spare/`.
const BESIDE_NAMES: [&str; 6] = [
    "indexed/index.html",
    "clean.html",
    "page.css.gz",
    "404.html",
    "app.html",
    "list/entry",
];

fn beside_world() -> Tree {
    let world = world();
    world.file("root/page.css", PUBLIC);
    for name in BESIDE_NAMES {
        world.file(format!("root/{name}"), PUBLIC);
        let link = world.path().join("outside/secret");
        world.symlink(link, format!("spare/{name}"));
    }
    world
}

fn fetch_beside(client: &mut Client, (path, accept): (&str, &str)) -> Response {
    let fields = [("Accept", accept), ("Accept-Encoding", "gzip")];
    let response = client.request("GET", path, &fields);
    assert_no_secret(&response, path);
    response
}

#[test]
fn what_is_opened_beside_the_target_is_contained_like_it() {
    let world = beside_world();
    let (root, spare) = (world.path().join("root"), world.path().join("spare"));
    hosted::each_backend(&root, &everything(), |server| {
        let mut client = server.client();
        for (target, name) in BESIDE.into_iter().zip(BESIDE_NAMES) {
            let swap = || {
                renameat_with(
                    CWD,
                    root.join(name),
                    CWD,
                    spare.join(name),
                    RenameFlags::EXCHANGE,
                )
            };
            let listed = |response: &Response| {
                let text = String::from_utf8_lossy(&response.body).into_owned();
                text.contains("entry")
            };
            let inside = fetch_beside(&mut client, target);
            assert!(
                inside.body == PUBLIC.as_bytes() || listed(&inside),
                "{target:?}"
            );
            swap().expect("both exist");
            let outside = fetch_beside(&mut client, target);
            assert!(!listed(&outside), "{target:?}: {outside:?}");
            swap().expect("both exist");
        }
    });
}

#[test]
fn what_is_opened_beside_the_target_never_leaks_while_it_flips() {
    for backend in backends() {
        let world = beside_world();
        let server = Hosted::start(&world.path().join("root"), backend, everything());
        let (stop, flips) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for name in BESIDE_NAMES {
                let (world, stop, flips) = (&world, &stop, &flips);
                scope.spawn(move || exchange(world, name, stop, flips));
            }
            let fetchers = BESIDE.map(|target| {
                let addr = server.addr();
                scope.spawn(move || {
                    let mut client = Client::connect(addr);
                    for _ in 0..500 {
                        let response = fetch_beside(&mut client, target);
                        let expected = [200, 301, 403, 404].contains(&response.status);
                        assert!(expected, "{target:?}: {response:?}");
                    }
                })
            });
            let results = fetchers.map(|fetcher| fetcher.join());
            // Before any unwrap: the flippers stop only when told.
            stop.store(true, Ordering::Relaxed);
            for result in results {
                result.expect("nothing leaked");
            }
        });
        server.assert_sound();
    }
}

#[test]
fn links_are_followed_as_far_as_was_asked_for() {
    let world = world();
    world
        .symlink("public", "root/inside")
        .symlink("sub", "root/dir");
    world.symlink("../outside/secret", "root/relative");
    world.symlink(world.path().join("outside"), "root/absolute");
    world
        .symlink("/proc/self/exe", "root/magic")
        .symlink("/proc/self/root", "root/magic-root");
    let root = world.path().join("root");
    let secret = world.path().join("outside/secret").display().to_string();
    for (symlinks, inside, outside) in [
        (Symlinks::Inside, 200, 404),
        (Symlinks::None, 404, 404),
        (Symlinks::All, 200, 200),
    ] {
        let files = Files {
            symlinks,
            ..Files::default()
        };
        hosted::each_backend(&root, &files, |server| {
            let mut client = server.client();
            for path in ["/inside", "/dir/public"] {
                assert_eq!(client.get(path).status, inside, "{symlinks:?} {path}");
            }
            for path in ["/relative", "/absolute/secret", "/absolute/"] {
                assert_eq!(client.get(path).status, outside, "{symlinks:?} {path}");
            }
            // A magic link is not followed by anybody.
            for path in ["/magic".to_owned(), format!("/magic-root{secret}")] {
                assert_eq!(client.get(&path).status, 404, "{symlinks:?} {path}");
            }
            // Links are one thing, what a client writes another.
            for path in [
                "/../outside/secret".to_owned(),
                secret.clone(),
                format!("/{secret}"),
            ] {
                let response = server.get(&path);
                assert_no_secret(&response, &path);
                assert!([400, 404].contains(&response.status), "{path}");
            }
            assert_eq!(client.get("/public").body, PUBLIC.as_bytes());
        });
    }
}

#[test]
fn pages_stay_inside_even_where_links_may_lead_out() {
    let world = world();
    let secret = world.path().join("outside/secret").display().to_string();
    for page in ["../outside/secret", "sub/../../outside/secret", &secret] {
        let files = Files {
            symlinks: Symlinks::All,
            page_404: Some(page.to_owned()),
            fallback: Some(page.to_owned()),
            index: vec![page.to_owned()],
            ..Files::default()
        };
        hosted::each_backend(&world.path().join("root"), &files, |server| {
            for path in ["/missing", "/", "/sub/"] {
                let response = server.get(path);
                assert_no_secret(&response, path);
                assert_eq!(response.status, 404, "{page} {path}");
            }
        });
    }
}

#[test]
fn another_mount_is_served_unless_it_was_ruled_out() {
    let world = world();
    world
        .dir("root/mounted")
        .symlink("mounted/secret", "root/link");
    let at = world.path().join("root/mounted");
    if let Err(error) = mount_bind(world.path().join("outside"), &at) {
        return skipped("another_mount", &format!("mount says {error}"));
    }
    let files = Files {
        listing: Listing::Json,
        ..Files::default()
    };
    let same = Files {
        same_mount: true,
        ..files.clone()
    };
    hosted::each_backend(&world.path().join("root"), &files, |server| {
        for path in ["/mounted/secret", "/link"] {
            assert_eq!(server.get(path).body, SECRET.as_bytes(), "{path}");
        }
    });
    hosted::each_backend(&world.path().join("root"), &same, |server| {
        let mut client = server.client();
        for path in ["/mounted/secret", "/link", "/mounted/", "/mounted"] {
            assert_contained(&mut client, path);
        }
        let list = client.get("/");
        assert_no_secret(&list, "/");
        let text = String::from_utf8_lossy(&list.body).into_owned();
        assert!(
            text.contains("public") && !text.contains("mounted"),
            "{text}"
        );
    });
    unmount(&at, UnmountFlags::DETACH).expect("it was mounted here");
}
