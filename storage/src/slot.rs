//! Hash slots: the unit in which the keyspace is partitioned, counted, and moved.
//!
//! A key belongs to one of 16384 slots by CRC-16 of its hash tag (Redis Cluster specification, "Key distribution
//! model"). Storage keeps one table per slot and one lock per stripe of neighbouring slots.

/// Number of hash slots (Redis Cluster specification).
pub const SLOT_COUNT: usize = 16384;
/// Number of locks over the keyspace; a set of stripes fits one machine word.
pub const STRIPE_COUNT: usize = 64;
/// Slots guarded by one lock.
pub const SLOTS_PER_STRIPE: usize = SLOT_COUNT / STRIPE_COUNT;

/// A hash slot. Invariant: below [`SLOT_COUNT`]; made only by [`Slot::of_key`] and [`Slot::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// How many bits a slot's number has.
    pub const BITS: u32 = SLOT_COUNT.ilog2();

    /// The slot with this number, if there is one.
    pub const fn new(number: u16) -> Option<Slot> {
        if (number as usize) < SLOT_COUNT { Some(Slot(number)) } else { None }
    }

    /// The slot of `key`: CRC-16 (XMODEM) of its hash tag, modulo 16384.
    #[inline]
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) & (SLOT_COUNT as u16 - 1))
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..SLOT_COUNT as u16).map(Slot)
    }

    #[inline]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The stripe whose lock guards this slot.
    #[inline]
    pub const fn stripe(self) -> StripeIndex {
        StripeIndex((self.0 as usize / SLOTS_PER_STRIPE) as u8)
    }

    /// Position of the slot within its stripe.
    #[inline]
    pub const fn within_stripe(self) -> usize {
        self.0 as usize % SLOTS_PER_STRIPE
    }
}

/// Any of the slots, as one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSet(Box<[u64; SLOT_COUNT / u64::BITS as usize]>);

impl SlotSet {
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = SlotSet::place(slot);
        self.0[word] & bit != 0
    }

    /// Whether the slot is new in the set.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let (word, bit) = SlotSet::place(slot);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Whether the slot was in the set.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let (word, bit) = SlotSet::place(slot);
        let was_there = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        was_there
    }

    /// Its slots in their order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| {
            let bits = (0..u64::BITS).filter(move |bit| word & 1 << bit != 0);
            bits.filter_map(move |bit| Slot::new((at as u32 * u64::BITS + bit) as u16))
        })
    }

    fn place(slot: Slot) -> (usize, u64) {
        (usize::from(slot.0) / u64::BITS as usize, 1 << (u32::from(slot.0) % u64::BITS))
    }
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet(Box::new([0; SLOT_COUNT / u64::BITS as usize]))
    }
}

impl Extend<Slot> for SlotSet {
    fn extend<T: IntoIterator<Item = Slot>>(&mut self, slots: T) {
        for slot in slots {
            self.insert(slot);
        }
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> SlotSet {
        let mut set = SlotSet::default();
        set.extend(slots);
        set
    }
}

/// CRC-16 of the XMODEM kind, eight bytes at a step: byte by byte it was what SET and GET spent most on their key, as
/// every step waits for the one before.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (steps, rest) = bytes.as_chunks::<8>();
    for step in steps {
        let [first, second] = crc.to_be_bytes();
        crc = CRC_TABLES[7][usize::from(step[0] ^ first)]
            ^ CRC_TABLES[6][usize::from(step[1] ^ second)]
            ^ CRC_TABLES[5][usize::from(step[2])]
            ^ CRC_TABLES[4][usize::from(step[3])]
            ^ CRC_TABLES[3][usize::from(step[4])]
            ^ CRC_TABLES[2][usize::from(step[5])]
            ^ CRC_TABLES[1][usize::from(step[6])]
            ^ CRC_TABLES[0][usize::from(step[7])];
    }
    for byte in rest {
        crc = crc << 8 ^ CRC_TABLES[0][usize::from(crc.to_be_bytes()[0] ^ byte)];
    }
    crc
}

/// What a byte adds to the checksum when this many others follow it.
static CRC_TABLES: [[u16; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u16; 256]; 8] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut byte = 0;
        while byte < 256 {
            let nearer: u16 = tables[distance - 1][byte];
            tables[distance][byte] = nearer << 8 ^ tables[0][(nearer >> 8) as usize];
            byte += 1;
        }
        distance += 1;
    }
    tables
}

/// The part of `key` that is hashed: what stands between the first `{` and the next `}`, if that is not empty.
#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    // Few keys have a tag, and most are too short for memchr to be worth its start.
    if !has_brace(key) {
        return key;
    }
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

/// Whether there is a `{`, eight bytes at a step; the last step may look at some bytes again.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let is_in = |step: &[u8; 8]| {
        // A byte that is equal becomes zero, and only subtracting from zero borrows.
        let differences = u64::from_ne_bytes(*step) ^ (ONES * b'{' as u64);
        differences.wrapping_sub(ONES) & !differences & (ONES << 7) != 0
    };
    match key.last_chunk() {
        Some(last) => is_in(last) || key.as_chunks().0.iter().any(is_in),
        None => key.contains(&b'{'),
    }
}

/// Index of a stripe. Invariant: below [`STRIPE_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StripeIndex(u8);

impl StripeIndex {
    #[inline]
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    /// All stripes in locking order.
    pub fn all() -> impl Iterator<Item = StripeIndex> {
        (0..STRIPE_COUNT as u8).map(StripeIndex)
    }

    /// The first slot of the stripe; its others follow without a gap.
    pub const fn slot(self, within: usize) -> Slot {
        assert!(within < SLOTS_PER_STRIPE);
        Slot((self.0 as usize * SLOTS_PER_STRIPE + within) as u16)
    }
}

/// A set of stripes, as one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StripeSet(u64);

impl StripeSet {
    pub const EMPTY: StripeSet = StripeSet(0);
    pub const ALL: StripeSet = StripeSet(u64::MAX);

    #[inline]
    pub const fn of(stripe: StripeIndex) -> StripeSet {
        StripeSet(1 << stripe.0)
    }

    #[inline]
    pub const fn with(self, stripe: StripeIndex) -> StripeSet {
        StripeSet(self.0 | 1 << stripe.0)
    }

    #[inline]
    pub const fn union(self, other: StripeSet) -> StripeSet {
        StripeSet(self.0 | other.0)
    }

    #[inline]
    pub const fn contains(self, stripe: StripeIndex) -> bool {
        self.0 & (1 << stripe.0) != 0
    }

    #[inline]
    pub const fn is_subset_of(self, other: StripeSet) -> bool {
        self.0 & !other.0 == 0
    }

    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// How many members of the set come before `stripe`.
    #[inline]
    pub const fn rank(self, stripe: StripeIndex) -> usize {
        (self.0 & ((1 << stripe.0) - 1)).count_ones() as usize
    }

    /// The members in ascending order, which is the order in which locks are taken.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = StripeIndex> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let lowest = left.trailing_zeros() as u8;
            left &= left - 1;
            Some(StripeIndex(lowest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // CLUSTER KEYSLOT of redis-server 7.
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("123456789", 12739), ("", 0), ("{user1000}.x", 3443)] {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
        assert_eq!(Slot::of_key(b"{user1000}.following"), Slot::of_key(b"user1000"));
    }

    #[test]
    fn the_checksum_is_the_one_of_the_crc16_crate() {
        let bytes: Vec<u8> = (0..100u32).map(|at| (at * at * 7 + 3) as u8).collect();
        for len in 0..bytes.len() {
            let expected = crc16::State::<crc16::XMODEM>::calculate(&bytes[..len]);
            assert_eq!(crc16(&bytes[..len]), expected, "{len} bytes");
        }
    }

    #[test]
    fn a_tag_is_found_wherever_it_begins() {
        for len in 0..40 {
            for at in 0..len {
                let mut key = vec![b'z'; len];
                assert!(!has_brace(&key));
                key[at] = b'{';
                assert!(has_brace(&key), "at {at} of {len}");
            }
        }
    }

    #[test]
    fn an_empty_or_open_tag_counts_as_no_tag() {
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn a_set_of_slots_has_what_was_put_in() {
        let [first, third, last] = [0, 2, 16383].map(|number| Slot::new(number).expect("there is one"));
        let mut set: SlotSet = [first, last].into_iter().collect();
        assert!(set.insert(third) && !set.insert(third) && !set.insert(last));
        let members: Vec<u16> = Slot::all().filter(|slot| set.contains(*slot)).map(Slot::number).collect();
        assert_eq!(members, [0, 2, 16383]);
        assert_eq!(set.iter().map(Slot::number).collect::<Vec<_>>(), members);
    }

    #[test]
    fn stripe_sets_rank_their_members_in_locking_order() {
        let stripes: Vec<_> = StripeIndex::all().collect();
        let set = StripeSet::of(stripes[3]).with(stripes[0]).with(stripes[63]);
        assert_eq!(set.iter().map(StripeIndex::number).collect::<Vec<_>>(), [0, 3, 63]);
        assert_eq!((set.rank(stripes[0]), set.rank(stripes[3]), set.rank(stripes[63])), (0, 1, 2));
        assert_eq!(StripeSet::ALL.len(), STRIPE_COUNT);
    }
}
