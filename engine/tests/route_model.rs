//! Trains the model by which routes tell words from ids, and checks that the committed one is just that.
//!
//! From the words of `src/route/model/words.txt` comes the cost of each letter after each other; the threshold is what
//! 98 of 100 words stay below that the model was not trained on. Words and names that are above it nevertheless are
//! listed in the model. `just train-routes` writes it.

#![allow(clippy::expect_used, reason = "writing to a string does not fail")]

use std::fmt::Write as _;
use std::path::Path;

const WORDS: &str = include_str!("../src/route/model/words.txt");
const NAMES: &str = include_str!("../src/route/model/names.txt");
const MODEL: &str = include_str!("../src/route/model.rs");

/// The letters, and the space before and after a word.
const SYMBOLS: usize = 27;

/// Parts of the words, each of which is once left out of the training.
const FOLDS: usize = 10;

type Costs = [[u32; SYMBOLS]; SYMBOLS];

/// The words of a list, sorted, each once.
fn list(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn symbol(byte: u8) -> usize {
    if byte == b' ' { SYMBOLS - 1 } else { usize::from(byte - b'a') }
}

/// The pairs of neighbours in `word`.
fn pairs(word: &str) -> impl Iterator<Item = (usize, usize)> {
    word.as_bytes().windows(2).map(|pair| (symbol(pair[0]), symbol(pair[1])))
}

/// Thousandths of the negative logarithm of how likely each symbol is after each other one. Every pair counts as if it
/// had been seen half a time more than it was.
fn train<'a>(words: impl Iterator<Item = &'a str>) -> Costs {
    let mut halves = [[1_u32; SYMBOLS]; SYMBOLS];
    for word in words {
        for (first, second) in pairs(&format!(" {word} ")) {
            halves[first][second] += 2;
        }
    }
    halves.map(|row| {
        let sum = f64::from(row.iter().sum::<u32>());
        row.map(|count| (-1000.0 * (f64::from(count) / sum).ln()).round() as u32)
    })
}

/// The mean cost of the pairs of `word`; 0 when it has none.
fn cost(costs: &Costs, word: &str) -> u32 {
    let (sum, count) =
        pairs(word).fold((0, 0), |(sum, count), (first, second)| (sum + costs[first][second], count + 1));
    sum / count.max(1)
}

/// What 98 of 100 words cost at most, each by a model that does not know it.
fn threshold(words: &[&str]) -> u32 {
    let mut unseen: Vec<u32> = (0..FOLDS)
        .flat_map(|fold| {
            let of = move |is: bool| move |&(number, _): &(usize, &str)| (number % FOLDS == fold) == is;
            let numbered = || words.iter().copied().enumerate();
            let costs = train(numbered().filter(of(false)).map(|(_, word)| word));
            numbered().filter(of(true)).map(move |(_, word)| cost(&costs, word)).collect::<Vec<_>>()
        })
        .collect();
    unseen.sort_unstable();
    unseen[unseen.len() * 98 / 100]
}

fn model() -> String {
    let words = list(WORDS);
    let costs = train(words.iter().copied());
    let threshold = threshold(&words);
    let mut known = list(NAMES);
    known.extend(&words);
    known.sort_unstable();
    known.dedup();
    known.retain(|word| cost(&costs, word) > threshold);

    let mut text = String::from(
        "//! What `tests/route_model.rs` learned from the lists in `model/`. Written by `just train-routes`.\n\n\
         /// Costs of the second symbol after the first, `a` to `z` and space, thousandths.\n\
         pub(super) const COSTS: [[u16; 27]; 27] = [\n",
    );
    for row in costs {
        let row: Vec<String> = row.iter().map(u32::to_string).collect();
        writeln!(text, "    [{}],", row.join(", ")).expect("a string takes it");
    }
    writeln!(text, "];\n\n/// Mean cost up to which letters are a word.").expect("a string takes it");
    writeln!(text, "pub(super) const THRESHOLD: u32 = {threshold};").expect("a string takes it");
    writeln!(text, "\n/// Words that cost more, sorted.\npub(super) const KNOWN: &[&str] = &[")
        .expect("a string takes it");
    for line in known.chunks(12) {
        let line: Vec<String> = line.iter().map(|word| format!("{word:?},")).collect();
        writeln!(text, "    {}", line.join(" ")).expect("a string takes it");
    }
    text.push_str("];\n");
    text
}

#[test]
fn the_committed_model_is_that_of_the_lists() {
    let model = model();
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/route/model.rs");
        std::fs::write(path, model).expect("the model is written");
    } else {
        assert!(model == MODEL, "src/route/model.rs is not that of the lists: `just train-routes`");
    }
}

#[test]
fn lists_have_lower_case_words_only() {
    for word in list(WORDS).into_iter().chain(list(NAMES)) {
        assert!(word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word:?}");
    }
}
