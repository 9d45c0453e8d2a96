//! Which files a site serves, and under which names.

use crate::encoding::Encoding;
use crate::mime::Types;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Those that stay inside the site.
    #[default]
    Inside,
    /// All. **Whoever can make a link in the site then publishes any file that the server may read**
    /// (`ln -s /etc/passwd`). Magic links, those of /proc that lead to open files, stay refused.
    All,
    /// None at all, not even in the middle of a path.
    None,
}

/// In which forms a directory without an index is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// In none: 404.
    #[default]
    Off,
    /// For people.
    Html,
    /// For programs.
    Json,
    /// As the client asks: `?format=json` or `?format=html`, else by its `Accept`.
    Both,
}

/// Which files a site serves, and under which names.
///
/// Names of pages are relative to the root of the site. Whatever the server opens for an answer
/// (index, precompressed form, page) must pass the same checks as a name that a client sends: it
/// lies inside, is a regular file, and is not hidden.
///
/// ```
/// use ambidex_server::{Encoding, Files, Listing};
/// let files = Files {
///     index: vec!["start.html".to_owned(), "index.html".to_owned()],
///     listing: Listing::Both,
///     precompressed: vec![Encoding::Brotli, Encoding::Gzip],
///     page_404: Some("404.html".to_owned()),
///     ..Files::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    /// What serves for a directory: the first of these that is there. An empty list: nothing does.
    pub index: Vec<String>,
    /// Whether names that begin with a dot are served. If not, a path with such a name anywhere in
    /// it is not found and is not listed, but for what lies below `/.well-known/` (RFC 8615).
    pub hidden: bool,
    /// Which symbolic links are followed. Where openat2(2) is denied, none is.
    pub symlinks: Symlinks,
    /// Whether to stay on the filesystem of the root: what is mounted below it is not found.
    pub same_mount: bool,
    /// Whether `/about` is answered by `about.html`, if there is no file `about`; a directory of
    /// that name comes after the page. `/about.html` stays an address of its own: nothing is
    /// redirected.
    pub clean_urls: bool,
    /// The page for what is not found, with status 200: for an application that finds its own way
    /// in the browser. It is for those who want a page: clients that name `text/html` in `Accept`,
    /// as browsers do when a person goes somewhere, and, for names without an extension, those that
    /// take anything. A missing script or image stays a 404.
    pub fallback: Option<String>,
    /// Whether a directory without an index is listed.
    pub listing: Listing,
    /// Most entries that are listed of a directory; a listing that was cut says so. Each takes about
    /// 100 bytes of memory while the list is made.
    pub listing_max: usize,
    /// The encodings that files may have beside them, made before, and the order in which the server
    /// likes them: `app.js.br` answers for `app.js` if the client takes it. The server does not
    /// compare their times (a copy does not keep them in order): make them anew with the file. Empty:
    /// nothing is looked for.
    pub precompressed: Vec<Encoding>,
    /// The page that goes with 404 instead of a line of text.
    pub page_404: Option<String>,
    /// The page that goes with 500 and above. Read once, at the start, at most 256 KiB: a disk that
    /// does not answer is one of its reasons.
    pub page_50x: Option<String>,
    /// Types of extensions, before those that are built in.
    pub types: Types,
    /// Whether large files are sent out of the page cache by sendfile(2), where that is warm and the
    /// kernel tells (Linux 6.5; since 6.14 to the owner of a file or who may write to it). It costs the
    /// processor less than half. **But what waits in a socket is then the file itself**: one that is
    /// written to or truncated in place while it is being sent reaches the client with bytes of both
    /// states, and nothing tells. So only for files that are replaced by rename(2).
    pub sendfile: bool,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            index: vec!["index.html".to_owned()],
            hidden: false,
            symlinks: Symlinks::default(),
            same_mount: false,
            clean_urls: false,
            fallback: None,
            listing: Listing::default(),
            listing_max: 100_000,
            precompressed: Vec::new(),
            page_404: None,
            page_50x: None,
            types: Types::default(),
            sendfile: false,
        }
    }
}

impl Files {
    /// Whether a path (relative, decoded) has a hidden name in it.
    pub(crate) fn hides(&self, path: &[u8]) -> bool {
        if self.hidden {
            return false;
        }
        let mut names = path.split(|byte| *byte == b'/').enumerate();
        names.any(|(depth, name)| name.starts_with(b".") && !(depth == 0 && name == b".well-known"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_hides_wherever_it_stands() {
        let files = Files::default();
        for (path, hidden) in [
            ("", false),
            ("a/b.c", false),
            (".git", true),
            (".git/config", true),
            ("a/.env", true),
            ("a/.b/c", true),
            (".well-known", false),
            (".well-known/acme-challenge/x", false),
            (".well-known/.x", true),
            ("a/.well-known/x", true),
            (".well-knownx", true),
            ("...", true),
        ] {
            assert_eq!(files.hides(path.as_bytes()), hidden, "{path}");
            let all = Files {
                hidden: true,
                ..Files::default()
            };
            assert!(!all.hides(path.as_bytes()));
        }
    }
}
