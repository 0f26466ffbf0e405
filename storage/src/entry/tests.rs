use super::*;

fn string(bytes: &[u8]) -> Value {
    Value::Str(Str::Bytes(bytes.to_vec(), StrForm::Plain))
}

fn bytes_of(entry: &Entry) -> Vec<u8> {
    match entry.as_ref().value() {
        ValueRef::Str(bytes) => bytes.to_vec(),
        ValueRef::Int(number) => number.to_string().into_bytes(),
        _ => panic!("not a string"),
    }
}

#[test]
fn every_shape_keeps_key_value_expiry_and_stamp() {
    for key_len in [0, 1, 16, 255, 256, 70_000] {
        for value_len in [0, 1, 16, 44, 254, 255, 256, 5000, SHARED_MIN - 1, SHARED_MIN] {
            for expiry in [None, Some(UnixMs(1_700_000_000_123))] {
                let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                let entry = Entry::new(&key, string(&value), expiry, Stamp::new(0xABCDEF));
                assert_eq!(entry.key(), key);
                assert_eq!(bytes_of(&entry), value);
                assert_eq!(entry.as_ref().expiry(), expiry);
                assert_eq!(entry.as_ref().stamp(), Stamp::new(0xABCDEF));
            }
        }
    }
}

#[test]
fn overwriting_walks_through_all_sizes_and_kinds() {
    let mut entry = Entry::with_int(b"key", 7, None, Stamp::default());
    let expiries = [None, Some(UnixMs(5)), Some(UnixMs(6))];
    for round in 0..2000usize {
        let expiry = expiries[round % 3];
        if round % 7 == 0 {
            entry.put_int(round as i64, expiry);
            assert_eq!(bytes_of(&entry), round.to_string().into_bytes());
        } else {
            let value = vec![round as u8; (round * 37) % 400];
            entry.put_bytes(&value, expiry);
            assert_eq!(bytes_of(&entry), value);
        }
        assert_eq!((entry.key(), entry.as_ref().expiry()), (&b"key"[..], expiry));
    }
}

#[test]
fn splice_extends_with_zeros_and_marks_the_string_modified() {
    let mut entry = Entry::with_bytes(b"k", b"hello", None, Stamp::default());
    entry.splice(1, b"ipp");
    assert_eq!(bytes_of(&entry), b"hippo");
    assert_eq!(entry.as_ref().string_form(), StrForm::Modified);
    entry.splice(7, b"!");
    assert_eq!(bytes_of(&entry), b"hippo\0\0!");
    entry.splice(1000, b"end");
    assert_eq!(entry.as_ref().value_len(), 1003);
    entry.string_buffer().extend_from_slice(b"more");
    assert_eq!(entry.as_ref().value_len(), 1007);
}

#[test]
fn who_holds_a_large_string_keeps_it_as_it_is() {
    let bytes = vec![b'x'; SHARED_MIN];
    let address = bytes.as_ptr();
    let mut entry = Entry::with_shared(b"k", bytes.into(), None, Stamp::default());
    let held = entry.as_ref().shared_string().cloned().expect("it is large");
    assert_eq!(held.as_ptr(), address, "nothing was copied");
    let copy = Entry::new(b"copy", entry.as_ref().to_value(), Some(UnixMs(1)), Stamp::default());
    entry.splice(0, b"y");
    entry.put_expiry(Some(UnixMs(7)));
    let bytes_at = |entry: &Entry| entry.as_ref().shared_string().map(|bytes| bytes.as_ptr());
    assert_eq!((&held[..2], &bytes_of(&copy)[..2], &bytes_of(&entry)[..2]), (&b"xx"[..], &b"xx"[..], &b"yx"[..]));
    drop((held, copy));
    let before = bytes_at(&entry);
    entry.splice(1, b"z");
    assert_eq!((bytes_at(&entry), &bytes_of(&entry)[..2]), (before, &b"yz"[..]), "nobody else held it");
    entry.put_bytes(b"short", None);
    assert_eq!(bytes_of(&entry), b"short");
}

#[test]
fn a_string_that_has_grown_large_is_shared_from_then_on() {
    let mut entry = Entry::with_bytes(b"k", b"hello", None, Stamp::default());
    entry.splice(SHARED_MIN, b"!");
    entry.splice(5, b" there");
    let shared = entry.as_ref().shared_string().expect("it is large");
    assert_eq!((shared.len(), &shared[..11]), (SHARED_MIN + 1, &b"hello there"[..]));
    assert!(entry.as_ref().free_effort() > 1);
}

#[test]
fn expiry_can_come_and_go_around_a_collection() {
    let mut list = List::new();
    list.push(crate::types::End::Back, b"a", &crate::types::ListLimits::default());
    let mut entry = Entry::new(b"key", Value::List(list), None, Stamp::new(3));
    for expiry in [Some(UnixMs(1)), Some(UnixMs(2)), None, None] {
        entry.put_expiry(expiry);
        assert_eq!(entry.as_ref().expiry(), expiry);
        let ValueRef::List(list) = entry.as_ref().value() else { panic!("still a list") };
        assert_eq!(list.len(), 1);
    }
    assert!(matches!(entry.into_value(), Value::List(list) if list.len() == 1));
}

impl EntryRef<'_> {
    fn value_len(self) -> usize {
        match self.value() {
            ValueRef::Str(bytes) => bytes.len(),
            _ => panic!("not a string"),
        }
    }
}
