//! Which files a site serves, and under which names.

/// Which files a site serves, and under which names.
///
/// ```
/// use ambidex_server::Files;
/// let files = Files { index: vec!["start.html".to_owned()], ..Files::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    /// What serves for a directory: the first of these that is there.
    pub index: Vec<String>,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            index: vec!["index.html".to_owned()],
        }
    }
}
