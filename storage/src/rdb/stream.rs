//! A [`Source`] over an `io::Read`, which also sums up the CRC of what it hands out.

use std::borrow::Cow;
use std::io::{self, Read};

use super::LoadError;
use super::crc64::crc64;
use super::source::Source;

const BUFFER: usize = 64 << 10;

pub struct StreamSource<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What of the buffer is read but not handed out: `at..end`. The sum covers everything before `summed`.
    at: usize,
    end: usize,
    summed: usize,
    crc: u64,
}

impl<R: Read> StreamSource<R> {
    pub fn new(inner: R) -> StreamSource<R> {
        StreamSource { inner, buffer: vec![0; BUFFER].into(), at: 0, end: 0, summed: 0, crc: 0 }
    }

    /// The CRC of everything handed out so far.
    pub fn crc(&mut self) -> u64 {
        self.crc = crc64(self.crc, &self.buffer[self.summed..self.at]);
        self.summed = self.at;
        self.crc
    }

    /// Refills the empty buffer.
    fn refill(&mut self) -> Result<(), LoadError> {
        assert!(self.at == self.end, "refilled with {} bytes left", self.end - self.at);
        // Bytes handed out are summed late, a buffer at a time, because the sum is slow on single bytes.
        self.crc();
        (self.at, self.end, self.summed) = (0, 0, 0);
        self.end = loop {
            match self.inner.read(&mut self.buffer) {
                Ok(0) => return Err(LoadError::Corrupt("the data ends early")),
                Ok(len) => break len,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(err.into()),
            }
        };
        Ok(())
    }
}

impl<R: Read> Source<'static> for StreamSource<R> {
    fn bytes(&mut self, len: u64) -> Result<Cow<'static, [u8]>, LoadError> {
        let buffered = self.end - self.at;
        let len = usize::try_from(len).map_err(|_| LoadError::Corrupt("string too long"))?;
        let head = len.min(buffered);
        let mut out = Vec::with_capacity(len.min(BUFFER));
        out.extend_from_slice(&self.buffer[self.at..self.at + head]);
        self.at += head;
        if head < len {
            self.crc();
            // Grows with what arrives, so a false length costs nothing.
            self.inner.by_ref().take((len - head) as u64).read_to_end(&mut out)?;
            if out.len() < len {
                return Err(LoadError::Corrupt("the data ends early"));
            }
            self.crc = crc64(self.crc, &out[head..]);
        }
        Ok(Cow::Owned(out))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut out = [0; N];
        for byte in &mut out {
            if self.at == self.end {
                self.refill()?;
            }
            *byte = self.buffer[self.at];
            self.at += 1;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out at most seven bytes at a time, as a slow socket might.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = out.len().min(7);
            self.0.read(&mut out[..len])
        }
    }

    #[test]
    fn the_sum_covers_what_was_handed_out() {
        let data: Vec<u8> = (0..BUFFER * 3).map(|n| (n * 7 % 251) as u8).collect();
        let mut source = StreamSource::new(Trickle(&data));
        let mut at = 0;
        for len in [1, 2, 6, 1, 100, BUFFER, 3, BUFFER + 1] {
            assert_eq!(&*source.bytes(len as u64).unwrap(), &data[at..at + len]);
            at += len;
            assert_eq!(source.fixed::<2>().unwrap(), data[at..at + 2]);
            at += 2;
            assert_eq!(source.crc(), crc64(0, &data[..at]));
        }
        assert!(source.bytes(u64::MAX / 2).is_err());
    }
}
