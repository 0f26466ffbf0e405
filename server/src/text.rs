//! Bytes as readable text, the way Redis prints them in logs and MONITOR.

/// The bytes in double quotes, with escapes for what is not printable.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(byte as char),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_printable_is_escaped() {
        assert_eq!(super::quoted(b"a\"b\\\n\x01\xff"), r#""a\"b\\\n\x01\xff""#);
    }
}
