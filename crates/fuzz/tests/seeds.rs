//! The seeds of all targets, and mutations of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fuzz::{TARGETS, Target};

/// The mutations of each seed.
const MUTATIONS: u64 = 300;

/// A generator of the same numbers in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % end.max(1)
    }
}

/// Bytes at which parsers take another way.
const INTERESTING: &[u8] = b"\0\x01\x7f\x80\xff\"\\,;:=%.[]{} \r\n09aZ";

fn mutate(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len());
        let byte = INTERESTING[numbers.below(INTERESTING.len())];
        match numbers.below(5) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 if !input.is_empty() => drop(input.remove(at)),
            3 => input.extend_from_within(at..),
            _ => {
                if let Some(place) = input.get_mut(at) {
                    *place = byte;
                }
            }
        }
        input.truncate(1 << 12);
    }
    input
}

fn run(target: &Target, input: &[u8]) {
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(run.is_ok(), "{} fails with {:?}", target.name, input.escape_ascii().to_string());
}

#[test]
fn seeds_and_mutations_keep_invariants() {
    for target in TARGETS {
        let mut numbers = Numbers(7);
        run(target, b"");
        for seed in (target.seeds)() {
            run(target, &seed);
            for _ in 0..MUTATIONS {
                run(target, &mutate(&seed, &mut numbers));
            }
        }
    }
}

#[test]
fn targets_have_names_and_seeds() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert!(TARGETS.iter().all(|target| !(target.seeds)().is_empty()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
}
