//! The fuzz targets over their corpus and mutations of it, without libFuzzer.
//! `FINALITY_FUZZ_TARGETS` (names, by commas) and `FINALITY_FUZZ_MUTATIONS` (for each file) change
//! what is run.

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own, too")]
mod targets;

use std::{fs, path::Path};

use proptest::prelude::*;

/// A small generator: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// Changes some bytes, cuts, repeats or joins with another input.
    fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut output = input.to_vec();
        for _ in 0..=self.below(4) {
            let (from, until) = (self.below(output.len() + 1), self.below(output.len() + 1));
            let (from, until) = (from.min(until), from.max(until));
            match self.below(6) {
                0 if !output.is_empty() => {
                    let at = self.below(output.len());
                    output[at] = self.below(256) as u8;
                }
                1 if !output.is_empty() => {
                    let at = self.below(output.len());
                    output[at] ^= 1 << self.below(8);
                }
                2 => drop(output.drain(from..until)),
                3 if until - from < 4096 => {
                    let copy = output[from..until].to_vec();
                    output.splice(until..until, copy);
                }
                4 => output.truncate(until),
                _ => {
                    let start = self.below(other.len() + 1);
                    let end = (start + self.below(64)).min(other.len());
                    output.splice(from..from, other[start..end].iter().copied());
                }
            }
        }
        output
    }
}

#[test]
fn every_target_survives_its_corpus_and_mutations_of_it() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let wanted = variable("FINALITY_FUZZ_TARGETS");
    let mutations = variable("FINALITY_FUZZ_MUTATIONS").map_or(300, |count| count.parse().unwrap());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        if wanted.as_ref().is_some_and(|wanted| !wanted.split(',').any(|want| want == name)) {
            continue;
        }
        let files = fs::read_dir(corpus.join(name)).unwrap();
        let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let inputs: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for input in &inputs {
            target(input);
            let mut changed = input.clone();
            for _ in 0..mutations {
                let other = &inputs[random.below(inputs.len())];
                // Now and then on top of the mutation before.
                let from = if random.below(3) == 0 { &changed } else { input };
                changed = random.mutate(from, other);
                target(&changed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn of_the_messages_of_nitro_the_first_group_decides(
        schedule in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        targets::nitro_choice(&schedule);
    }
}

#[test]
fn every_target_is_built_under_libfuzzer_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut programs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    programs.sort();
    let mut names = targets::TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(programs, names);
}
