//! The fake kernel's files: inodes in memory, and how a path leads to them, as path_resolution(7) says.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// `errno`, positive.
pub(super) type Errno = i32;
/// A file that may have several names and descriptors.
pub(super) type Node = Rc<RefCell<Inode>>;

/// When the first file was modified, in seconds since 1970: each change after takes a nanosecond, unless the clock is set.
pub const MODIFIED: u64 = 1_600_000_000;
/// Of a second.
pub(super) const NANOSECONDS: u64 = 1_000_000_000;
/// Symbolic links of one path, as Linux counts them.
const LINKS_MAX: u32 = 40;
/// `NAME_MAX`
const NAME_BYTES_MAX: usize = 255;

/// What a file is.
pub(super) enum Kind {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Node>),
    Link(Vec<u8>),
}

/// What there is of each file once.
pub(super) struct Inode {
    pub(super) number: u64,
    /// Names of it.
    pub(super) links: u32,
    /// Permissions.
    pub(super) mode: u32,
    pub(super) kind: Kind,
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
}

impl Inode {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The content of a regular file.
    pub(super) fn content(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.kind {
            Kind::File(content) => Some(content),
            Kind::Directory(_) | Kind::Link(_) => None,
        }
    }

    /// The names of a directory.
    pub(super) fn names(&mut self) -> Option<&mut BTreeMap<Vec<u8>, Node>> {
        match &mut self.kind {
            Kind::Directory(names) => Some(names),
            Kind::File(_) | Kind::Link(_) => None,
        }
    }

    /// `S_IFMT` and the permissions.
    pub(super) fn type_and_mode(&self) -> u32 {
        self.mode
            | match self.kind {
                Kind::File(_) => libc::S_IFREG,
                Kind::Directory(_) => libc::S_IFDIR,
                Kind::Link(_) => libc::S_IFLNK,
            }
    }
}

/// A directory, and those above it up to the root, which comes first.
pub(super) type Trail = Vec<Node>;

/// Where a path leads.
pub(super) struct Spot {
    /// The directory of the last name.
    pub(super) above: Trail,
    /// The last name; empty for a path that ends with a dot or two, or is the root.
    pub(super) name: Vec<u8>,
    /// What has that name.
    pub(super) node: Option<Node>,
    /// The path ends with a slash, or as if it did.
    pub(super) slash: bool,
}

impl Spot {
    /// What is there.
    pub(super) fn found(&self) -> Result<Node, Errno> {
        let node = self.node.clone().ok_or(libc::ENOENT)?;
        if self.slash && !node.borrow().is_directory() {
            return Err(libc::ENOTDIR);
        }
        Ok(node)
    }

    /// Gives `node` this name, or takes the name away.
    pub(super) fn put(&self, node: Option<Node>) {
        let mut above = self.above.last().expect("the root").borrow_mut();
        let names = above.names().expect("a directory");
        let new = node.clone();
        let old = match node {
            Some(node) => names.insert(self.name.clone(), node),
            None => names.remove(&self.name),
        };
        if let Some(new) = new {
            new.borrow_mut().links += 1;
        }
        if let Some(old) = old {
            old.borrow_mut().links -= 1;
        }
    }
}

/// How a path is followed.
#[derive(Clone, Copy, Default)]
pub(super) struct Rules {
    /// The last name too, if it is a link.
    pub(super) follow: bool,
    /// `RESOLVE_*`
    pub(super) resolve: u64,
}

/// All files.
pub(super) struct Tree {
    root: Node,
    numbers: u64,
    /// Nanoseconds since 1970.
    clock: u64,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Inode {
            number: 1,
            links: 1,
            mode: 0o755,
            kind: Kind::Directory(BTreeMap::new()),
            attributes: BTreeMap::new(),
            modified: MODIFIED * NANOSECONDS,
        };
        Tree {
            root: Rc::new(RefCell::new(root)),
            numbers: 1,
            clock: MODIFIED * NANOSECONDS,
        }
    }

    pub(super) fn root(&self) -> Trail {
        vec![Rc::clone(&self.root)]
    }

    /// The time of a change now.
    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// From now on it is `time`, in nanoseconds since 1970; it never goes back.
    pub(super) fn set_clock(&mut self, time: u64) {
        self.clock = self.clock.max(time);
    }

    /// A file without a name.
    pub(super) fn make(&mut self, kind: Kind, mode: u32) -> Node {
        self.numbers += 1;
        Rc::new(RefCell::new(Inode {
            number: self.numbers,
            links: 0,
            mode,
            kind,
            attributes: BTreeMap::new(),
            modified: self.tick(),
        }))
    }

    /// Follows `path` from the directory `from`.
    pub(super) fn walk(&self, from: &Trail, path: &[u8], rules: Rules) -> Result<Spot, Errno> {
        if path.is_empty() {
            return Err(libc::ENOENT);
        }
        let mut trail = from.clone();
        let mut rest = VecDeque::new();
        let mut slash = path.ends_with(b"/");
        let mut hops = 0;
        self.enter(&mut trail, &mut rest, path, rules)?;
        while let Some(name) = rest.pop_front() {
            let last = rest.is_empty();
            let node = look(&trail, &name)?;
            if name == b"." || name == b".." {
                if name == b".." {
                    climb(&mut trail, from, rules)?;
                }
                slash |= last;
                continue;
            }
            let Some(node) = node else {
                return if last {
                    Ok(spot(trail, name, None, slash))
                } else {
                    Err(libc::ENOENT)
                };
            };
            let target = match &node.borrow().kind {
                Kind::Link(target) if !last || rules.follow || slash => Some(target.clone()),
                _ => None,
            };
            if let Some(target) = target {
                hops += 1;
                if hops > LINKS_MAX || rules.resolve & libc::RESOLVE_NO_SYMLINKS != 0 {
                    return Err(libc::ELOOP);
                }
                self.enter(&mut trail, &mut rest, &target, rules)?;
            } else if last {
                return Ok(spot(trail, name, Some(node), slash));
            } else {
                trail.push(node);
            }
        }
        let node = trail.last().cloned();
        Ok(spot(trail, Vec::new(), node, true))
    }

    /// Goes on with `path` before the rest.
    fn enter(
        &self,
        trail: &mut Trail,
        rest: &mut VecDeque<Vec<u8>>,
        path: &[u8],
        rules: Rules,
    ) -> Result<(), Errno> {
        if path.starts_with(b"/") {
            if rules.resolve & libc::RESOLVE_BENEATH != 0 {
                return Err(libc::EXDEV);
            }
            *trail = self.root();
        }
        let names = path.split(|byte| *byte == b'/');
        for name in names.filter(|name| !name.is_empty()).rev() {
            rest.push_front(name.to_vec());
        }
        Ok(())
    }
}

fn spot(above: Trail, name: Vec<u8>, node: Option<Node>, slash: bool) -> Spot {
    Spot {
        above,
        name,
        node,
        slash,
    }
}

/// What is called `name` at the end of `trail`.
fn look(trail: &Trail, name: &[u8]) -> Result<Option<Node>, Errno> {
    let mut here = trail.last().expect("the root").borrow_mut();
    let names = here.names().ok_or(libc::ENOTDIR)?;
    if name.len() > NAME_BYTES_MAX {
        return Err(libc::ENAMETOOLONG);
    }
    Ok(names.get(name).cloned())
}

/// One directory up, but not above `from` where that is asked.
fn climb(trail: &mut Trail, from: &Trail, rules: Rules) -> Result<(), Errno> {
    if rules.resolve & libc::RESOLVE_BENEATH != 0 && trail.len() <= from.len() {
        return Err(libc::EXDEV);
    }
    if trail.len() > 1 {
        trail.pop();
    }
    Ok(())
}
