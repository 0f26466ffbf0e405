//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET read them.
//!
//! `*` takes any bytes, `?` one byte, `[a-z]` and `[^a-z]` are classes, and a backslash takes the next byte literally.
//! Redis's corner cases are kept: an unclosed class ends with the pattern, ranges compare bytes as *signed*, an escaped
//! byte inside a class keeps its case, and a pattern of stars alone does not match the empty text (commands that
//! special-case `*` do so themselves).
//! Invariant: at most `pattern.len() * text.len()` steps, whatever the number of stars.

/// Whether letters of either case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Insensitive,
}

/// Whether the whole of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut pattern_at = 0;
    let mut text_at = 0;
    // Where to go on after a mismatch: behind the last star, with one more byte given to it. Earlier stars need
    // no second look, since every other element takes exactly one byte: whatever they could take, the last star
    // can take too.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            if pattern_at == pattern.len() {
                return true;
            }
            retry = Some((pattern_at, text_at));
            continue;
        }
        let step = pattern.get(pattern_at..).and_then(|rest| element(rest, text[text_at], case));
        if let Some(width) = step {
            pattern_at += width;
            text_at += 1;
        } else if let Some((star_end, taken)) = retry {
            retry = Some((star_end, taken + 1));
            pattern_at = star_end;
            text_at = taken + 1;
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// Matches one byte against the element at the start of `pattern`, which is no star. Gives the element's width.
#[inline]
fn element(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte, case).map(|width| width + 1),
        [b'\\', literal, ..] => case.same(*literal, byte).then_some(2),
        [literal, ..] => case.same(*literal, byte).then_some(1),
    }
}

/// Matches one byte against the class whose opening bracket is already taken. Gives the width up to the closing
/// one.
fn match_class(class: &[u8], byte: u8, case: Case) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= case.in_range(first, last, byte);
                at += 3;
            }
            [literal, ..] => {
                found |= case.same(literal, byte);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

impl Case {
    #[inline]
    fn same(self, a: u8, b: u8) -> bool {
        a == b || (self == Case::Insensitive && a.eq_ignore_ascii_case(&b))
    }

    /// Bytes compare as signed, as C's `char` does where Redis runs, and ends may come in either order.
    fn in_range(self, first: u8, last: u8, byte: u8) -> bool {
        let fold = |byte: u8| match self {
            Case::Sensitive => byte as i8,
            Case::Insensitive => byte.to_ascii_lowercase() as i8,
        };
        // The ends are put in order before their case is folded, which is why "[Z-a]" can come out empty.
        let (low, high) = if first as i8 > last as i8 { (last, first) } else { (first, last) };
        (fold(low)..=fold(high)).contains(&fold(byte))
    }
}

#[cfg(test)]
mod tests;
