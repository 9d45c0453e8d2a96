//! What was noted down, and whether that is as it should be.

use std::collections::{BTreeMap, BTreeSet};

/// A script over the seam `S`, and what Linux makes of it.
pub(crate) struct Behaviour<S> {
    /// A sentence.
    pub(crate) name: &'static str,
    /// What is noted down.
    pub(crate) expect: &'static str,
    pub(crate) script: fn(&mut S),
}

/// Somebody who answers differently.
pub(crate) struct Divergence {
    /// The behaviour's name.
    pub(crate) behaviour: &'static str,
    /// Words that the names of those kernels have: "sim", "tmpfs threads". The most words win.
    pub(crate) on: &'static str,
    /// What they do.
    pub(crate) does: &'static str,
    /// Why it does not matter.
    pub(crate) because: &'static str,
}

impl Divergence {
    fn is_about(&self, behaviour: &str, kernel: &str) -> bool {
        let mut words = self.on.split(' ');
        self.behaviour == behaviour && words.all(|word| kernel.split(' ').any(|own| own == word))
    }
}

/// What each kernel did.
#[derive(Default)]
pub(crate) struct Record {
    /// What is expected, by behaviour.
    expected: BTreeMap<&'static str, &'static str>,
    /// By behaviour and kernel.
    noted: BTreeMap<(&'static str, String), String>,
}

impl Record {
    /// `kernel` did `noted`.
    pub(crate) fn note<S>(&mut self, behaviour: &Behaviour<S>, kernel: &str, noted: String) {
        self.expected.insert(behaviour.name, behaviour.expect);
        let key = (behaviour.name, kernel.to_owned());
        let before = self.noted.insert(key, noted);
        assert!(before.is_none(), "{} twice on {kernel}", behaviour.name);
    }

    /// How many behaviours there were.
    pub(crate) fn behaviours(&self) -> usize {
        self.expected.len()
    }

    /// How many kernels there were.
    pub(crate) fn kernels(&self) -> usize {
        let kernels = self.noted.keys().map(|(_, kernel)| kernel);
        kernels.collect::<BTreeSet<_>>().len()
    }

    /// What is wrong.
    pub(crate) fn judge(
        &self,
        declared: &[Divergence],
        not_simulated: &[(&str, &str)],
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for ((behaviour, kernel), noted) in &self.noted {
            let expected = self.expected[behaviour];
            let about = declared.iter().filter(|d| d.is_about(behaviour, kernel));
            let declaration = about.max_by_key(|d| d.on.split(' ').count());
            match declaration {
                None if noted != expected => wrong.push(format!(
                    "\"{behaviour}\" on {kernel} diverges:\n  expected {expected}\n  noted    {noted}"
                )),
                Some(d) if noted == expected => wrong.push(format!(
                    "\"{behaviour}\" on {kernel}, declared on \"{}\": it diverges no longer: {noted}",
                    d.on
                )),
                Some(d) if noted != d.does => wrong.push(format!(
                    "\"{behaviour}\" on {kernel} diverges otherwise than declared:\n  declared {}\n  noted    {noted}",
                    d.does
                )),
                _ => {}
            }
        }
        let names = declared.iter().map(|d| d.behaviour);
        for name in names.chain(not_simulated.iter().map(|(name, _)| *name)) {
            if !self.expected.contains_key(name) {
                wrong.push(format!("declared and not there: \"{name}\""));
            }
        }
        let reasons = declared.iter().map(|d| (d.behaviour, d.because));
        for (name, why) in reasons.chain(not_simulated.iter().copied()) {
            if why.is_empty() {
                wrong.push(format!("declared without a reason: \"{name}\""));
            }
        }
        wrong
    }
}

/// A record of one behaviour that Linux answers with "1", on `kernel` noted as `noted`.
fn recorded(kernel: &str, noted: &str) -> Record {
    let behaviour = Behaviour::<()> {
        name: "it counts",
        expect: "1",
        script: |()| {},
    };
    let mut record = Record::default();
    record.note(&behaviour, kernel, noted.to_owned());
    record
}

fn declared(on: &'static str, does: &'static str) -> Divergence {
    Divergence {
        behaviour: "it counts",
        on,
        does,
        because: "an example",
    }
}

#[test]
fn what_diverges_is_right_only_where_it_is_declared_as_it_is() {
    let noted = recorded("sim local", "2");
    assert_eq!(noted.judge(&[], &[]).len(), 1);
    assert_eq!(noted.judge(&[declared("tmpfs", "2")], &[]).len(), 1);
    assert_eq!(noted.judge(&[declared("sim", "3")], &[]).len(), 1);
    assert_eq!(noted.judge(&[declared("sim", "2")], &[]), [""; 0]);
    let nearer = [declared("sim", "3"), declared("sim local", "2")];
    assert_eq!(noted.judge(&nearer, &[]), [""; 0]);
}

#[test]
fn a_declaration_that_is_no_longer_true_or_about_nothing_is_wrong() {
    let noted = recorded("sim local", "1");
    assert_eq!(noted.judge(&[], &[]), [""; 0]);
    assert_eq!(noted.judge(&[declared("sim", "2")], &[]).len(), 1);
    assert_eq!(noted.judge(&[], &[("it flies", "why")]).len(), 1);
    assert_eq!(noted.judge(&[], &[("it counts", "")]).len(), 1);
}
