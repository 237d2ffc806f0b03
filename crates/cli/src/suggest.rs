//! "Did you mean": the known word that is nearest to an unknown one.

/// The word of `known` that `word` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let far = |other: &str| distance(&lower, &other.to_lowercase());
    let (best, distance) = known.into_iter().map(|other| (other, far(other))).min_by_key(|&(_, far)| far)?;
    let letters = word.chars().count().max(best.chars().count());
    (distance * 3 <= letters).then_some(best)
}

/// Letters to change, insert, leave out or exchange with their neighbour to make `a` into `b`: the optimal string
/// alignment distance (Damerau 1964).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = ["epochs", "batch", "optimizer", "seed"];
        for (word, meant) in [
            ("epoch", Some("epochs")),
            ("Epochs", Some("epochs")),
            ("bacth", Some("batch")),
            ("optimiser", Some("optimizer")),
            ("model", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word:?}");
        }
        assert_eq!(nearest("epoch", []), None);
    }
}
