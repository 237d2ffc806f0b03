//! Patterns over module paths: `encoder.*`, `**`, `**:ReLU`.

/// Whether `path` matches `pattern`: `?` is one character but the dot, `*` any number of them, `**` any
/// number of characters. Everything else is itself.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    fn from(p: &[u8], s: &[u8]) -> bool {
        match p {
            [] => s.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=s.len()).any(|i| from(rest, &s[i..])),
            [b'*', rest @ ..] => {
                let part = s.iter().position(|&c| c == b'.').unwrap_or(s.len());
                (0..=part).any(|i| from(rest, &s[i..]))
            }
            [b'?', rest @ ..] => !s.is_empty() && s[0] != b'.' && from(rest, &s[1..]),
            [c, rest @ ..] => s.first() == Some(c) && from(rest, &s[1..]),
        }
    }
    from(pattern.as_bytes(), path.as_bytes())
}

/// Whether a module matches: `path:Kind`, where the kind may be left out. `kind` may go on after its name
/// (`Linear 784→512`).
pub(crate) fn matches_module(pattern: &str, path: &str, kind: &str) -> bool {
    match pattern.split_once(':') {
        None => matches(pattern, path),
        Some((p, k)) => matches(p, path) && matches(k, kind.split(' ').next().unwrap_or(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_dots_and_double_stars_do_not() {
        let cases = [
            ("**", "", true),
            ("**", "a.b", true),
            ("*", "a", true),
            ("*", "a.b", false),
            ("encoder.*", "encoder.0", true),
            ("encoder.*", "encoder.0.linear", false),
            ("**.weight", "a.b.weight", true),
            ("**.weight", "weight", false),
            ("layers.?", "layers.3", true),
            ("layers.?", "layers.31", false),
            ("a", "ab", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(matches_module("**:ReLU", "0.1", "ReLU"));
        assert!(matches_module("**:Linear", "0.1", "Linear 2→3"));
        assert!(!matches_module("**:Lin", "0.1", "Linear 2→3"));
    }
}
