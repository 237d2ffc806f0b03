//! Pictures made of letters: a curve, a confusion matrix, a bar.

use limpid::train::Confusion;

/// A curve of `values` in dots of Braille, two across and four down in a letter: `height` lines of `width` letters,
/// the largest value at the top. Values that are not finite leave a gap.
pub fn curve(values: &[f64], width: usize, height: usize) -> Vec<String> {
    const DOTS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let mut letters = vec![vec![0u32; width]; height];
    let (across, down) = (width * 2, height * 4);
    for x in 0..across {
        let at = x as f64 / (across.max(2) - 1) as f64 * values.len().saturating_sub(1) as f64;
        let (before, part) = (at.floor() as usize, at.fract());
        let Some(&first) = values.get(before) else { continue };
        let value = first + part * (values.get(before + 1).copied().unwrap_or(first) - first);
        if !value.is_finite() {
            continue;
        }
        let along = if high > low { (value - low) / (high - low) } else { 0.5 };
        let y = down - 1 - (along * (down - 1) as f64).round() as usize;
        letters[y / 4][x / 2] |= DOTS[x % 2][y % 4];
    }
    let letter = |dots: u32| char::from_u32(0x2800 + dots).unwrap_or(' ');
    letters.into_iter().map(|line| line.into_iter().map(letter).collect()).collect()
}

/// A bar of `width` letters of which `part` (0 to 1) is filled, to an eighth of a letter.
pub fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let (whole, rest) = (eighths / 8, eighths % 8);
    let used = whole + usize::from(rest > 0);
    format!("{}{}{}", "█".repeat(whole), EIGHTHS[rest], " ".repeat(width - used))
}

/// A confusion matrix: a line for each true class, a column for each that it was taken for; 0 is a dot.
pub fn confusion(classes: &[String], count: impl Fn(usize, usize) -> u64) -> Vec<String> {
    let n = classes.len();
    let letters = |text: &str| text.chars().count();
    let numbers = (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| letters(&count(i, j).to_string()));
    let names = classes.iter().map(|class| letters(class)).max().unwrap_or(0);
    let cell = numbers.max().unwrap_or(1).max(names) + 1;
    let mut lines =
        vec![" ".repeat(names) + &classes.iter().map(|class| format!("{class:>cell$}")).collect::<String>()];
    for (truth, class) in classes.iter().enumerate() {
        let text = |j| match count(truth, j) {
            0 => "·".to_owned(),
            count => count.to_string(),
        };
        let row: String = (0..n).map(|j| format!("{:>cell$}", text(j))).collect();
        lines.push(format!("{class:>names$}{row}"));
    }
    lines
}

/// A confusion matrix with what it says above it.
pub fn confusion_page(classes: &[String], counts: &Confusion) -> String {
    let lines = confusion(classes, |i, j| counts.count(i, j));
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("\na row is the true class, a column what it was taken for\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::{bar, confusion, curve};

    #[test]
    fn a_falling_line_falls() {
        assert_eq!(curve(&[4.0, 3.0, 2.0, 1.0], 2, 1), ["⠑⢄"]);
        assert_eq!(curve(&[1.0, 1.0], 1, 1), ["⠒"]);
    }

    #[test]
    fn what_is_not_finite_is_a_gap() {
        assert_eq!(curve(&[f64::NAN; 3], 2, 1), ["⠀⠀"]);
        assert_eq!(curve(&[], 2, 2), ["⠀⠀", "⠀⠀"]);
    }

    #[test]
    fn a_bar_fills_from_nothing_to_all() {
        let bars = [-1.0, 0.0, 0.5, 0.53125, 1.0, 7.0].map(|part| bar(part, 4));
        assert_eq!(bars, ["    ", "    ", "██  ", "██▏ ", "████", "████"]);
    }

    #[test]
    fn a_matrix_stands_in_columns() {
        let counts = [[12, 0], [3, 104]];
        let lines = confusion(&["no".into(), "yes".into()], |i, j| counts[i][j]);
        assert_eq!(lines, ["     no yes", " no  12   ·", "yes   3 104"]);
    }
}
