//! Reflected checksums (CRC) of 64 bits, eight bytes at a step: that of dumps and of the log is one of them.

pub(crate) struct Reflected {
    /// Entry `[k][b]` is what byte `b` contributes when `k` more bytes follow it in the same step.
    tables: [[u64; 256]; 8],
}

impl Reflected {
    /// `polynomial` has its bits in reverse order, the highest power in the lowest bit.
    pub(crate) const fn new(polynomial: u64) -> Reflected {
        let mut tables = [[0u64; 256]; 8];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u64;
            let mut bit = 0;
            while bit < 8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { polynomial } else { 0 };
                bit += 1;
            }
            tables[0][byte] = crc;
            byte += 1;
        }
        let mut depth = 1;
        while depth < 8 {
            let mut byte = 0;
            while byte < 256 {
                let shallower = tables[depth - 1][byte];
                tables[depth][byte] = tables[0][(shallower & 0xff) as usize] ^ shallower >> 8;
                byte += 1;
            }
            depth += 1;
        }
        Reflected { tables }
    }

    /// Continues a checksum over more bytes.
    #[inline]
    pub(crate) fn add(&self, checksum: u64, bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = checksum;
        for word in words {
            let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            let tables = self.tables.iter().rev();
            crc = mixed.iter().zip(tables).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
        }
        for byte in rest {
            crc = self.tables[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
        }
        crc
    }
}
