//! What a user writes: options of `serve`, a configuration file, and what is then said about a
//! request. Nothing may panic; a mistake is one line that names its place; an answer is one head.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use clap::Parser;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::cli::Serve;
use crate::http::head::{Head, Status};
use crate::http::request::{Parsed, Request, parse};
use crate::http::target::{self, Target};
use crate::listen::Address;
use crate::policy::{Policy, Rules, path_of};
use crate::workers::Options;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// The configuration file, in memory.
static FILE: LazyLock<File> = LazyLock::new(|| {
    let fd = memfd_create("config", MemfdFlags::CLOEXEC).expect("a file in memory");
    fd.into()
});

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    serve: Serve,
}

/// Three parts with a zero byte between them: options, one a line; the file; the target of a request.
///
/// # Panics
/// If a mistake is not told as it should be, or an answer is not what HTTP takes for one.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or(b"");
    let (options, file, target) = (part(), part(), part());
    if let Some(options) = plan(options, file) {
        follow(&options, std::str::from_utf8(target).unwrap_or("/"));
    }
}

fn plan(options: &[u8], file: &[u8]) -> Option<Options> {
    let path = format!("/proc/self/fd/{}", FILE.as_raw_fd());
    FILE.set_len(0).expect("it shrinks");
    FILE.write_all_at(file, 0).expect("it grows");
    let options = std::str::from_utf8(options).ok()?;
    // A second --config is refused: no other file is ever read.
    let words = ["serve", "--config", &path].into_iter();
    let words = words.chain(options.lines());
    let command = Command::try_parse_from(words).ok()?;
    match command.serve.plan() {
        Ok(plan) => Some(plan.options),
        Err(error) => {
            assert!(is_line(&error), "{error:?}");
            if let Some(place) = error.strip_prefix(&format!("{path}:")) {
                let lines = 1 + file.iter().filter(|byte| **byte == b'\n').count();
                let (line, what) = place.split_once(": ").expect("a line and what is wrong");
                let line: usize = line.parse().expect("the number of a line");
                assert!((1..=lines).contains(&line) && !what.is_empty(), "{error}");
            }
            None
        }
    }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n')
}

fn follow(options: &Options, target: &str) {
    for address in &options.listen {
        let again = address.to_string().parse::<Address>();
        assert_eq!(again.as_ref(), Ok(address));
    }
    let hosts = options.hosts.iter().map(|host| (&host.files, &host.policy));
    let config = &options.config;
    for (files, policy) in hosts.chain([(&config.files, &config.policy)]) {
        let rules = match policy.compile() {
            Ok(rules) => rules,
            Err(error) => {
                assert!(is_line(&error.to_string()), "{error}");
                continue;
            }
        };
        // Whoever is let in, and somebody else.
        let known = policy.cors.iter().flat_map(|cors| &cors.origins);
        let origin = known.map(String::as_str).next().unwrap_or("https://a");
        for method in ["GET", "OPTIONS"] {
            let text = format!(
                "{method} {target} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
                 Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: X-A, range\r\n\r\n"
            );
            if let Parsed::Complete(request, _) = parse(text.as_bytes())
                && let Ok(target) = target::parse(request.target)
            {
                let kind = files.types.of(&target.path);
                answer(&rules, policy, &request, &target, &kind);
            }
        }
    }
}

/// All that may be said about `request`.
fn answer(rules: &Rules, policy: &Policy, request: &Request<'_>, target: &Target<'_>, kind: &str) {
    let head = |status| Head::new(Status(status), DATE).text("Content-Length", "0");
    let file = head(200).text("Content-Type", kind).text("ETag", "\"x\"");
    one_head(rules.decorate(file, request, &target.path));
    one_head(rules.accompany(head(404), request));
    if let Some(lines) = rules.preflight(request) {
        let mut head = head(204);
        head.edit().extend_from_slice(&lines);
        one_head(head);
    }
    if let Some((status, location)) = rules.moves.redirect(target) {
        let here = location.starts_with('/') && !location.starts_with("//");
        let rule = |host: &str| {
            policy
                .redirects
                .iter()
                .any(|rule| host_of(&rule.to) == Some(host))
        };
        assert!(here || host_of(&location).is_some_and(rule), "{location}");
        one_head(rules.accompany(head(status).field("Location", location), request));
    }
    if let Some(other) = rules.moves.rewrite(target)
        && let Ok(other) = target::parse(&other)
    {
        assert!(path_of(&other).starts_with(b"/"));
    }
}

fn host_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

/// One head and nothing behind it, with each of the fields once that there may be once.
fn one_head(head: Head) {
    let bytes = head.finish(true);
    let shown = || bytes.escape_ascii();
    // More than any file of a fuzzer's size has.
    let mut fields = vec![httparse::EMPTY_HEADER; 4096];
    let mut read = httparse::Response::new(&mut fields);
    let length = read.parse(&bytes);
    assert_eq!(
        length,
        Ok(httparse::Status::Complete(bytes.len())),
        "{}",
        shown()
    );
    for name in ["content-length", "vary", "date"] {
        let all = read.headers.iter();
        let count = all
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .count();
        let least = usize::from(name != "vary");
        assert!(
            (least..=1).contains(&count),
            "{count} of {name}: {}",
            shown()
        );
    }
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    assert!(bytes.iter().all(printable), "{}", shown());
}
