//! Who answers each "what happens now?", and walks depth first through all answers.

use std::cell::{Cell, RefCell};
use std::env;
use std::rc::Rc;

/// A way through the tree of choices: at each fork, which branch of how many.
#[derive(Default)]
pub(crate) struct Oracle {
    path: RefCell<Vec<(usize, usize)>>,
    at: Cell<usize>,
}

/// How much was walked through.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walked {
    pub(crate) interleavings: u64,
    pub(crate) steps: u64,
}

impl Walked {
    pub(crate) fn add(&mut self, other: Walked) {
        self.interleavings += other.interleavings;
        self.steps += other.steps;
    }
}

impl Oracle {
    /// One of `branches`: what was recorded, else the first.
    pub(crate) fn choose(&self, branches: usize) -> usize {
        if branches == 1 {
            return 0;
        }
        let (path, at) = (&mut *self.path.borrow_mut(), self.at.get());
        self.at.set(at + 1);
        match path.get(at) {
            Some((branch, known)) => {
                assert_eq!(*known, branches, "a replay must meet the same forks");
                *branch
            }
            None => {
                path.push((0, branches));
                0
            }
        }
    }

    /// Turns to the next way, which differs as late as possible. False if there is none.
    fn turn(&self) -> bool {
        let path = &mut *self.path.borrow_mut();
        self.at.set(0);
        while let Some((branch, branches)) = path.pop() {
            if branch + 1 < branches {
                path.push((branch + 1, branches));
                return true;
            }
        }
        false
    }

    /// The way as words: branch and branches of each fork.
    fn spell(&self) -> String {
        let path = self.path.borrow();
        let words: Vec<String> = path.iter().map(|(at, of)| format!("{at}/{of}")).collect();
        words.join(",")
    }

    fn follow(&self, words: &str) {
        let fork = |word: &str| {
            let (branch, branches) = word.split_once('/')?;
            Some((branch.parse().ok()?, branches.parse().ok()?))
        };
        let path: Option<Vec<_>> = words.split(',').map(fork).collect();
        *self.path.borrow_mut() = path.expect("AMBIDEX_CHOICES: branch/branches,...");
    }
}

/// Says which way led to a panic.
struct Witness<'a>(&'a str, &'a Oracle);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness(scene, oracle) = self;
            let way = oracle.spell();
            eprintln!(
                "{scene}: fails; AMBIDEX_SCENE={scene:?} AMBIDEX_CHOICES={way} walks this way alone"
            );
        }
    }
}

/// Runs `walk`, which tells how many steps it made, along every way of `scene`; or along the one that the environment
/// names.
pub(crate) fn explore(scene: &str, mut walk: impl FnMut(&Rc<Oracle>) -> u64) -> Walked {
    let (mut walked, oracle) = (Walked::default(), Rc::new(Oracle::default()));
    let only = env::var("AMBIDEX_CHOICES").ok();
    if let Some(words) = &only {
        if env::var("AMBIDEX_SCENE").is_ok_and(|wanted| wanted != scene) {
            return walked;
        }
        oracle.follow(words);
    }
    let _witness = Witness(scene, &oracle);
    loop {
        walked.steps += walk(&oracle);
        walked.interleavings += 1;
        if only.is_some() || !oracle.turn() {
            return walked;
        }
    }
}
