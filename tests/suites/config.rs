//! Options, environment and file: what each says, which comes first, and how mistakes are told.

use std::process::Output;

use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Server, backends, run};
use ambidex_tests::tree::Tree;

fn tree(config: &str) -> Tree {
    let tree = Tree::new();
    tree.file("site.toml", config);
    tree.file("public/index.html", "file")
        .file("public/other.html", "other");
    tree.file("flag/index.html", "flag");
    tree
}

fn path(tree: &Tree, name: &str) -> String {
    tree.path().join(name).to_str().expect("UTF-8").to_owned()
}

fn assert_refused(output: &Output, culprits: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.starts_with("ambidex: ") && stderr.lines().count() == 1,
        "{stderr:?}"
    );
    for culprit in culprits {
        assert!(stderr.contains(culprit), "no {culprit:?} in {stderr:?}");
    }
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_file_alone_is_enough() {
    let tree = tree("root = \"public\"\nindex = [\"other.html\"]\n[limits]\nidle-timeout = 600\n");
    for backend in backends() {
        let server = Server::builder(tree.path()).rootless().backend(backend);
        let server = server.args(["-c", &path(&tree, "site.toml")]).start();
        assert_eq!(get(server.addr(), "/").body, b"other");
        server.assert_sound();
    }
}

#[test]
fn options_come_before_environment_and_environment_before_the_file() {
    let tree = tree("root = \"public\"\ncache-control = \"file\"\n");
    let flag = path(&tree, "flag");
    let value = |flags: &[&str], env: Option<&str>| {
        let server = Server::builder(tree.path()).rootless();
        let mut server = server.args(["-c", &path(&tree, "site.toml")]).args(flags);
        if let Some(value) = env {
            server = server
                .env("AMBIDEX_CACHE_CONTROL", value)
                .env("AMBIDEX_ROOT", &flag);
        }
        let server = server.start();
        let response = get(server.addr(), "/");
        let value = response.header("cache-control").map(str::to_owned);
        (
            value.unwrap_or_default(),
            String::from_utf8(response.body).expect("UTF-8"),
        )
    };
    let pair = |value: &str, body: &str| (value.to_owned(), body.to_owned());
    assert_eq!(value(&[], None), pair("file", "file"));
    assert_eq!(value(&[], Some("environment")), pair("environment", "flag"));
    assert_eq!(
        value(&["--cache-control", "option"], Some("environment")),
        pair("option", "flag")
    );
    assert_eq!(
        value(&["--cache-control", "option", "-d", &flag], None),
        pair("option", "flag")
    );
}

#[test]
fn the_directory_can_be_given_in_three_ways_but_only_once() {
    let tree = tree("");
    let flag = path(&tree, "flag");
    for args in [["-d", &flag], ["--root", &flag], ["--directory", &flag]] {
        let server = Server::builder(tree.path()).rootless().args(args).start();
        assert_eq!(get(server.addr(), "/").body, b"flag");
    }
    assert_refused(&run(&["serve", &flag, "--root", &flag]), &["--root"]);
    let server =
        Server::builder(&tree.path().join("flag")).env("AMBIDEX_ROOT", path(&tree, "public"));
    assert_eq!(get(server.start().addr(), "/").body, b"flag");
    assert_refused(&run(&["serve"]), &["ambidex serve DIR"]);
}

#[test]
fn check_says_good_or_what_is_wrong_and_starts_nothing() {
    let tree = tree(
        "root = \"public\"\n[cors]\norigins = [\"*\"]\n[[rewrite]]\nfrom = \"/a\"\nto = \"/b\"\n[types]\nfoo = \"text/foo\"\n",
    );
    let good = run(&["serve", "-c", &path(&tree, "site.toml"), "--check"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(
        good.stderr.is_empty() && !good.stdout.is_empty(),
        "{good:?}"
    );
    // A port that is taken is no mistake of the settings.
    let server = Server::builder(tree.path()).start();
    let taken = server.addr().to_string();
    let good = run(&[
        "serve",
        "-c",
        &path(&tree, "site.toml"),
        "--check",
        "--listen",
        &taken,
    ]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let missing = path(&tree, "missing");
    assert_refused(
        &run(&["serve", &missing, "--check"]),
        &[&missing, "check the path"],
    );
}

#[test]
fn mistakes_in_the_file_are_told_with_file_line_and_advice() {
    for (text, culprits) in [
        (
            "root = \"public\"\nchache-control = \"x\"\n",
            &["site.toml:2", "chache-control", "cache-control"][..],
        ),
        (
            "[limits]\nheader_timeout = 3\n",
            &["site.toml:2", "header-timeout"],
        ),
        (
            "[[redirect]]\nfrom = \"/a\"\nto = \"/b\"\nstaus = 301\n",
            &["site.toml:4", "status"],
        ),
        ("port = \"eighty\"\n", &["site.toml:1", "eighty"]),
        ("root = \n", &["site.toml:1"]),
        ("symlinks = \"outside\"\n", &["site.toml:1", "inside"]),
        (
            "listen = [\"example.org:80\"]\nroot = \"public\"\n",
            &["example.org:80", "127.0.0.1:8080"],
        ),
        ("bind = [\"nonsense\"]\nroot = \"public\"\n", &["nonsense"]),
        (
            "root = \"public\"\n[types]\nfoo = \"nonsense\"\n",
            &["nonsense"],
        ),
        (
            "root = \"public\"\n[[cache]]\npaths = \"a[\"\nvalue = \"b\"\n",
            &["a["],
        ),
        (
            "root = \"public\"\n[[header]]\nname = \"X\"\n",
            &["set, add and remove"],
        ),
        ("root = \"public\"\nworkers = 0\n", &["workers"]),
        ("root = \"\"\n", &["directory"]),
    ] {
        let tree = tree(text);
        assert_refused(
            &run(&["serve", "-c", &path(&tree, "site.toml"), "--check"]),
            culprits,
        );
    }
    let tree = tree("");
    let missing = path(&tree, "missing.toml");
    assert_refused(&run(&["serve", "-c", &missing]), &[&missing]);
    let binary = path(&tree, "binary.toml");
    tree.file("binary.toml", b"\xff\xfe\0");
    assert_refused(&run(&["serve", "-c", &binary]), &[&binary]);
}

#[test]
fn a_wrong_option_is_named_with_the_one_that_was_meant() {
    let tree = tree("");
    let root = path(&tree, "public");
    for (args, culprits) in [
        (
            &["--cach-control", "x"][..],
            &["--cach-control", "--cache-control"][..],
        ),
        (&["--max-connections", "0"], &["max-connections"]),
        (&["--max-header-bytes", "1"], &["max-header-bytes"]),
        (&["--symlinks", "outside"], &["outside"]),
        (&["--precompressed=lzma"], &["lzma", "zst"]),
        (&["--directory-listing=xml"], &["xml"]),
        (&["--bind", "example.org"], &["example.org", "127.0.0.1"]),
        (&["--listen", "unix:"], &["unix:"]),
        (&["--listen", "fd:1"], &["fd:"]),
        (&["--disk-engine", "fast"], &["fast"]),
        (&["--min-rate", "slow"], &["slow"]),
        (&["--port", "70000"], &["70000"]),
        (&["--hidden=perhaps"], &["perhaps"]),
    ] {
        let output = run(&[&["serve", &root][..], args].concat());
        assert_refused(&output, culprits);
    }
}

#[test]
fn every_option_is_taken() {
    let tree = tree("");
    let root = path(&tree, "public");
    let args = [
        "serve",
        &root,
        "--check",
        "-p",
        "0",
        "-b",
        "127.0.0.1,::1",
        "--host",
        "unix:/a",
        "--index",
        "a.html,b.html",
        "--spa",
        "--page404",
        "404.html",
        "--page50x",
        "50x.html",
        "--hidden",
        "--symlinks",
        "none",
        "--same-mount",
        "--browse",
        "--precompressed",
        "--clean-urls",
        "--header",
        "A: b",
        "--header",
        "C: d",
        "--cors",
        "--cache-control",
        "no-cache",
        "--immutable",
        "--max-connections",
        "10",
        "--max-connections-per-address",
        "5",
        "--header-timeout",
        "1.5",
        "--idle-timeout",
        "1",
        "--write-timeout",
        "1",
        "--min-rate",
        "100",
        "--disk-deadline",
        "2",
        "--max-header-bytes",
        "4096",
        "--max-header-fields",
        "50",
        "--max-target-bytes",
        "1024",
        "--workers",
        "2",
        "--grace-period",
        "1",
        "--disk-engine",
        "threads",
    ];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let args = [
        "--spa=app.html",
        "--hidden=false",
        "--directory-listing=json",
        "--precompressed=br,gz",
        "--cors=http://a",
    ];
    let output = run(&[&["serve", &root, "--check"][..], &args].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_environment_can_say_what_options_can() {
    let tree = tree("");
    let server = Server::builder(&tree.path().join("public"))
        .env("AMBIDEX_HEADER", "X-A: 1, 2\nX-B: 3")
        .env("AMBIDEX_HIDDEN", "yes")
        .env("AMBIDEX_INDEX", "none.html,other.html")
        .env("AMBIDEX_CORS", "*");
    let server = server.start();
    let response = Client::connect(server.addr()).get("/other.html");
    assert_eq!(response.header("x-a"), Some("1, 2"));
    assert_eq!(response.header("x-b"), Some("3"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn help_is_in_groups_and_fits_a_terminal() {
    let output = run(&["serve", "--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for heading in [
        "Start and stop:",
        "Listening:",
        "Files:",
        "Answers:",
        "Limits:",
        "Environment:",
        "Examples:",
    ] {
        assert!(
            text.lines().any(|line| line == heading),
            "no {heading} in {text}"
        );
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}
