//! Which fields an answer gets.

use super::*;

#[test]
fn hashes_are_told_from_words_and_dates() {
    for (path, hashed) in [
        ("app.3f9a1c2b.js", true),
        ("a/b/app.3f9a1c2b4d5e6f70.css", true),
        ("index-DfG3k2a1.js", true),
        ("chunk.aB3dE5gH.js.map", true),
        ("app.js", false),
        ("app.min.js", false),
        ("report.20240101.pdf", false),
        ("report-2024-01-01.pdf", false),
        ("app.bundle12.js", false),
        ("MyFile-Version2.txt", false),
        ("3f9a1c2b.js", false),
        ("app.3f9a1c2b", false),
        ("app-3f9a1c2b", false),
        ("app.3f9a1c2.js", false),
        ("deadbeefs.cafebabe.js", false),
        ("app.A1B2C3D4.js", true),
        ("app.IMG202401.jpg", false),
        ("app.photo12345.jpg", false),
        ("3f9a1c2b.d/app.js", false),
        ("", false),
    ] {
        assert_eq!(is_hashed(path.as_bytes()), hashed, "{path}");
    }
}

#[test]
fn the_first_pattern_that_matches_decides() {
    let rules = [
        ("*.css", "css"),
        ("/a/*.txt", "a"),
        ("b/**", "b"),
        ("**", "rest"),
        ("*.js", "never"),
    ];
    let rules = rules.map(|(paths, value)| CacheRule::new(paths, value));
    let choices = Choices::compile(&rules).unwrap().unwrap();
    for (path, value) in [
        ("x.css", "css"),
        ("b/c/x.css", "css"),
        ("a/x.txt", "a"),
        ("a/b/x.txt", "rest"),
        ("b/c/x.txt", "b"),
        ("x.js", "rest"),
    ] {
        assert_eq!(choices.of(path.as_bytes()), Some(value), "{path}");
    }
}

#[test]
fn rules_that_cannot_be_followed_are_named() {
    for (name, change, culprit) in [
        ("X A", Change::Remove, "X A"),
        ("Content-Length", Change::Set("1".into()), "Content-Length"),
        ("transfer-encoding", Change::Remove, "transfer-encoding"),
        ("Vary", Change::Remove, "Vary"),
        ("X-A", Change::Set("a\r\nSet-Cookie: b".into()), "X-A"),
    ] {
        let error = HeaderRule::new("**", name, change).check().unwrap_err();
        assert!(error.to_string().contains(culprit), "{error}");
    }
    let error = Globs::compile(["a["].into_iter()).err().unwrap();
    assert!(error.to_string().contains("a["), "{error}");
}

fn rule(paths: &str, name: &str, change: Change) -> HeaderRule {
    HeaderRule::new(paths, name, change)
}

/// What is said of a file, and of anything else, behind `sent`.
fn said(policy: &Policy, sent: &str, path: &str) -> (String, String) {
    let headers = Headers::compile(policy).expect("good rules");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
    let (mut file, mut other) = (sent.as_bytes().to_vec(), sent.as_bytes().to_vec());
    headers.of_file(&mut file, path.as_bytes());
    headers.of_other(&mut other);
    (text(file), text(other))
}

#[test]
fn later_rules_for_everything_take_the_place_of_earlier_ones() {
    let set = |value: &str| Change::Set(value.to_owned());
    let add = |value: &str| Change::Add(value.to_owned());
    let policy = Policy {
        headers: vec![
            rule("**", "X-A", set("1")),
            rule("/**", "X-B", add("2")),
            rule("*", "x-b", add("3")),
            rule("**/*", "x-a", set("4")),
            rule("**", "X-C", set("5")),
            rule("/**/*", "X-C", Change::Remove),
            rule("**", "X-Content-Type-Options", Change::Remove),
        ],
        ..Policy::default()
    };
    let lines = "X-B: 2\r\nx-b: 3\r\nx-a: 4\r\n".to_owned();
    assert_eq!(said(&policy, "", "a/b"), (lines.clone(), lines));
    let (file, other) = said(&Policy::default(), "", "a");
    assert_eq!(file, "X-Content-Type-Options: nosniff\r\n");
    assert_eq!(file, other);
}

#[test]
fn rules_of_some_paths_and_of_sent_fields_are_followed_in_order() {
    let set = |value: &str| Change::Set(value.to_owned());
    let policy = Policy {
        nosniff: false,
        headers: vec![
            rule("/a/*", "X-A", set("1")),
            rule("**", "X-A", set("2")),
            rule("/a/b", "X-A", Change::Add("3".to_owned())),
            rule("**", "Server", Change::Remove),
            rule("**", "ETag", Change::Remove),
            rule("**", "Content-Type", set("a/b")),
            rule("**", "Content-Security-Policy", set("x")),
        ],
        ..Policy::default()
    };
    let sent = "Server: s\r\nETag: e\r\n";
    let (file, other) = said(&policy, sent, "a/b");
    assert_eq!(file, "Content-Security-Policy: x\r\nX-A: 2\r\nX-A: 3\r\n");
    // What describes a file is not for errors.
    assert_eq!(other, "ETag: e\r\nContent-Security-Policy: x\r\nX-A: 2\r\n");
    let (file, other) = said(&policy, "Content-Type: t\r\n", "c");
    assert!(file.ends_with("Content-Type: a/b\r\n"), "{file}");
    assert!(other.starts_with("Content-Type: t\r\n"), "{other}");
}

#[test]
fn caches_are_told_of_files_only_and_hashes_come_first() {
    let policy = |immutable| Policy {
        nosniff: false,
        immutable,
        cache: vec![
            CacheRule::new("*.js", "short"),
            CacheRule::new("/a", "none"),
        ],
        ..Policy::default()
    };
    let cached = |value: &str| format!("Cache-Control: {value}\r\n");
    for (immutable, path, expected) in [
        (true, "app.3f9a1c2b.js", cached(FOR_EVER)),
        (true, "app.js", cached("short")),
        (false, "app.3f9a1c2b.js", cached("short")),
        (false, "a", cached("none")),
        (false, "b/a", String::new()),
    ] {
        let (file, other) = said(&policy(immutable), "", path);
        assert_eq!((file, other), (expected, String::new()), "{path}");
    }
}

#[test]
fn a_rule_for_everything_ends_the_list_and_what_follows_must_make_sense() {
    let choices = |rules: &[(&str, &str)]| {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| CacheRule::new(rule.0, rule.1))
            .collect();
        Choices::compile(&rules).map(|choices| choices.expect("rules"))
    };
    let everything = choices(&[("**", "all"), ("*.js", "never")]).expect("good rules");
    assert_eq!(everything.of(b"a.js"), Some("all"));
    let last = choices(&[("*.js", "js"), ("/**", "all")]).expect("good rules");
    assert_eq!((last.of(b"a.js"), last.of(b"a")), (Some("js"), Some("all")));
    assert!(choices(&[("**", "all"), ("a[", "never")]).is_err());
    assert!(choices(&[("a", "\r\n")]).is_err());
    assert!(Choices::compile(&[]).expect("no rules").is_none());
}

#[test]
fn values_and_vary_are_checked() {
    for (name, change, good) in [
        ("Vary", Change::Add("X-A".into()), true),
        ("vary", Change::Set("X-A".into()), false),
        ("X-A", Change::Add("a\nb".into()), false),
        ("X-A", Change::Remove, true),
        ("X-A", Change::Set("a".into()), true),
    ] {
        assert_eq!(rule("**", name, change).check().is_ok(), good, "{name}");
    }
}
