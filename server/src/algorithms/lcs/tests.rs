//! What LCS of redis-server 7.0.15 answers, and the length against a plain table.

use super::*;

#[test]
fn alignments_are_those_of_redis() {
    for (a, b, text, matches) in ALIGNMENTS {
        let alignment = Alignment::of(a, b);
        let found: Vec<_> = alignment.matches.iter().map(|piece| (piece.a, piece.b, piece.len)).collect();
        assert_eq!((&alignment.text[..], &found[..]), (*text, *matches), "{a:?} {b:?}");
        assert_eq!(length(a, b), text.len());
    }
}

/// Lengths around the word size, where carries go from word to word.
#[test]
fn lengths_are_those_of_a_plain_table() {
    let mut seed = 3u64;
    let mut string = |len: usize, letters: u64| -> Vec<u8> {
        let mut letter = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % letters
        };
        (0..len).map(|_| letter() as u8).collect()
    };
    for len in [1, 62, 63, 64, 65, 127, 128, 129, 200, 256] {
        for letters in [1, 2, 3, 20] {
            let (a, b) = (string(len / 2 + 40, letters), string(len, letters));
            let mut row = vec![0usize; b.len() + 1];
            for &byte in &a {
                let mut diagonal = 0;
                for (at, &other) in b.iter().enumerate() {
                    let above = row[at + 1];
                    row[at + 1] = if byte == other { diagonal + 1 } else { above.max(row[at]) };
                    diagonal = above;
                }
            }
            let alignment = Alignment::of(&a, &b);
            assert_eq!(length(&a, &b), row[b.len()]);
            assert_eq!(alignment.text.len(), row[b.len()]);
            let pieces = alignment.matches.iter().rev();
            let from_a: Vec<u8> = pieces.clone().flat_map(|piece| &a[piece.a..piece.a + piece.len]).copied().collect();
            let from_b: Vec<u8> = pieces.flat_map(|piece| &b[piece.b..piece.b + piece.len]).copied().collect();
            assert!(from_a == alignment.text && from_b == alignment.text);
        }
    }
}

#[test]
fn the_table_of_redis_is_measured_without_overflow() {
    assert_eq!(table_bytes(0, 0), 4);
    assert_eq!(table_bytes(9, 99), 4000);
    assert!(table_bytes(LEN_END, LEN_END) > 1 << 65);
}

type Case = (&'static [u8], &'static [u8], &'static [u8], &'static [(usize, usize, usize)]);

/// Two strings, their subsequence, and the matches of IDX WITHMATCHLEN (start, start, length) in reply order.
const ALIGNMENTS: &[Case] = &[
    (b"ohmytext", b"mynewtext", b"mytext", &[(4, 5, 4), (2, 0, 2)]),
    (b"", b"", b"", &[]),
    (b"", b"a", b"", &[]),
    (b"abc", b"", b"", &[]),
    (b"abc", b"abc", b"abc", &[(0, 0, 3)]),
    (b"abc", b"xyz", b"", &[]),
    (b"aaa", b"aa", b"aa", &[(1, 0, 2)]),
    (b"abcbdab", b"bdcaba", b"bdab", &[(5, 3, 2), (3, 0, 2)]),
    (b"b", b"b", b"b", &[(0, 0, 1)]),
    (b"baabbaab", b"abbaabbbabbaaa", b"baabbab", &[(7, 10, 1), (6, 8, 1), (0, 2, 5)]),
    (b"e", b"babb", b"", &[]),
    (b"hcdeea", b"bbbaaab", b"a", &[(5, 5, 1)]),
    (b"hecfgfdfba", b"dbfc", b"db", &[(8, 1, 1), (6, 0, 1)]),
    (b"", b"abbabbbabab", b"", &[]),
    (b"hecegcfafahcff", b"bhdgdbaaa", b"hgaa", &[(9, 7, 1), (7, 6, 1), (4, 3, 1), (0, 1, 1)]),
    (b"cahdfabeg", b"hdd", b"hd", &[(2, 0, 2)]),
    (b"adghdgd", b"", b"", &[]),
    (b"aaab", b"fa", b"a", &[(2, 1, 1)]),
    (b"bgahg", b"abb", b"a", &[(2, 0, 1)]),
    (b"fgdefghbedag", b"ea", b"ea", &[(10, 1, 1), (8, 0, 1)]),
    (b"hhggdadcaeb", b"baaaabbbaaaa", b"aab", &[(10, 7, 1), (8, 2, 1), (5, 1, 1)]),
    (b"ecafbaefbbhgd", b"gdhg", b"gd", &[(11, 0, 2)]),
    (b"b", b"ghbdeh", b"b", &[(0, 2, 1)]),
    (b"cfcccfhfeaca", b"b", b"", &[]),
    (b"hbdgefdcaaf", b"hehhgceffcgbcc", b"hgeff", &[(10, 8, 1), (4, 6, 2), (3, 4, 1), (0, 0, 1)]),
    (b"abaab", b"cfffceaabfbcch", b"aab", &[(4, 10, 1), (2, 6, 2)]),
    (b"b", b"abbabab", b"b", &[(0, 6, 1)]),
    (b"bbbbbbbbaba", b"fggacbh", b"ab", &[(9, 5, 1), (8, 3, 1)]),
    (b"febehdhbcd", b"aa", b"", &[]),
    (b"baaaaaaba", b"", b"", &[]),
    (b"eccgcbfacg", b"bbabaabbbbbab", b"ba", &[(7, 2, 1), (5, 0, 1)]),
    (b"", b"abaaaaaaaa", b"", &[]),
    (b"chgfcdbhfeg", b"", b"", &[]),
    (b"eeh", b"bdfba", b"", &[]),
    (b"hfbcahda", b"b", b"b", &[(2, 0, 1)]),
    (b"cebabdeaaahcdf", b"bbbbaabbabb", b"bbaaa", &[(9, 8, 1), (7, 4, 2), (4, 1, 1), (2, 0, 1)]),
    (b"gfcdahgefgg", b"abbaabbba", b"a", &[(4, 0, 1)]),
    (b"bcbde", b"hbfahdcbdbbfec", b"bcbde", &[(4, 12, 1), (1, 6, 3), (0, 1, 1)]),
    (b"c", b"acdeafffccd", b"c", &[(0, 9, 1)]),
    (b"", b"aehbdcghhf", b"", &[]),
    (b"baaaabababa", b"fgfbddfcda", b"ba", &[(10, 9, 1), (9, 3, 1)]),
    (b"bbb", b"gccg", b"", &[]),
    (b"fahch", b"baabbaabaaaa", b"a", &[(1, 1, 1)]),
    (b"aaggdcacc", b"gff", b"g", &[(3, 0, 1)]),
    (b"bbbaa", b"abbaaaaaaabaa", b"bbbaa", &[(2, 10, 3), (0, 1, 2)]),
    (b"cceaehedh", b"acegaaff", b"cea", &[(3, 4, 1), (1, 1, 2)]),
    (b"ababaa", b"bba", b"bba", &[(5, 2, 1), (3, 1, 1), (1, 0, 1)]),
    (b"gbbf", b"daabcgcbff", b"bbf", &[(3, 9, 1), (2, 7, 1), (1, 3, 1)]),
    (b"bb", b"", b"", &[]),
    (b"bbbbabbababa", b"dehfcecfe", b"", &[]),
    (b"dheefcfbdfd", b"b", b"b", &[(7, 0, 1)]),
    (b"", b"", b"", &[]),
    (b"cddfggdhge", b"abcag", b"cg", &[(8, 4, 1), (0, 2, 1)]),
    (b"ba", b"ffcaf", b"a", &[(1, 3, 1)]),
    (b"babbbabaabba", b"e", b"", &[]),
    (b"bb", b"gfgegbfgbhgf", b"bb", &[(1, 8, 1), (0, 5, 1)]),
    (b"cgebfadch", b"bbbbabab", b"ba", &[(5, 4, 1), (3, 0, 1)]),
    (b"edcffce", b"hchghfage", b"cfe", &[(6, 8, 1), (4, 5, 1), (2, 1, 1)]),
    (b"ccahecaadfc", b"babaa", b"aaa", &[(6, 3, 2), (2, 1, 1)]),
    (b"a", b"aaaaaaaaabbb", b"a", &[(0, 8, 1)]),
    (b"ababba", b"abaaa", b"abaa", &[(5, 4, 1), (0, 0, 3)]),
    (b"bbaaabbbaaa", b"bbbbbabbab", b"bbbbbaa", &[(10, 8, 1), (9, 5, 1), (5, 2, 3), (0, 0, 2)]),
    (b"bbaaaabaa", b"bbe", b"bb", &[(6, 1, 1), (1, 0, 1)]),
    (b"baabbaaa", b"geeabgfch", b"ab", &[(4, 4, 1), (2, 3, 1)]),
    (b"fdhdccfaddh", b"ccfgh", b"ccfh", &[(10, 4, 1), (4, 0, 3)]),
    (b"abbbbaabbbbabb", b"e", b"", &[]),
    (b"gc", b"cafddgc", b"gc", &[(0, 5, 2)]),
    (b"bbbbbbaaaaa", b"eacfa", b"aa", &[(10, 4, 1), (9, 1, 1)]),
    (b"gfdfhf", b"", b"", &[]),
    (b"ab", b"chff", b"", &[]),
    (b"c", b"aababaabb", b"", &[]),
    (b"aa", b"bbabbb", b"a", &[(1, 2, 1)]),
    (b"", b"eegf", b"", &[]),
    (b"abbaaaabb", b"bgghhchcefe", b"b", &[(8, 0, 1)]),
    (b"h", b"degehfafh", b"h", &[(0, 8, 1)]),
    (b"baaababbbbbab", b"bbabba", b"bbabba", &[(9, 3, 3), (4, 1, 2), (0, 0, 1)]),
    (b"b", b"e", b"", &[]),
    (b"", b"bbaaab", b"", &[]),
    (b"bbababbbaab", b"cehccdhdgcaec", b"a", &[(9, 10, 1)]),
    (b"dfcdfgbafech", b"aaab", b"a", &[(7, 0, 1)]),
    (b"aa", b"aabb", b"aa", &[(0, 0, 2)]),
    (b"hcbfeee", b"", b"", &[]),
    (b"eafbeah", b"h", b"h", &[(6, 0, 1)]),
    (b"hhfadcge", b"fhaecgdgf", b"facg", &[(5, 4, 2), (3, 2, 1), (2, 0, 1)]),
    (b"bba", b"hbcbbhcgb", b"bb", &[(1, 3, 1), (0, 1, 1)]),
    (b"aaa", b"ba", b"a", &[(2, 1, 1)]),
    (b"abbbbbaabbbb", b"efde", b"", &[]),
    (b"aabbbab", b"edhacdafhgae", b"aaa", &[(5, 10, 1), (1, 6, 1), (0, 3, 1)]),
    (b"aaabaaaabbaaa", b"dfgeafgdgecg", b"a", &[(12, 4, 1)]),
    (b"eb", b"d", b"", &[]),
    (b"bbaaba", b"aehhfdgeg", b"a", &[(5, 0, 1)]),
    (b"g", b"aaabbbaba", b"", &[]),
    (b"aabaaba", b"ebc", b"b", &[(5, 1, 1)]),
    (b"baaaaa", b"gbcdegbcfchahe", b"ba", &[(5, 11, 1), (0, 1, 1)]),
    (b"hcg", b"adeehcb", b"hc", &[(0, 4, 2)]),
    (b"b", b"ababbbba", b"b", &[(0, 6, 1)]),
    (b"baaaaba", b"bbaabbaabbb", b"baaaab", &[(3, 6, 3), (0, 1, 3)]),
    (b"gccgcfeeh", b"ggccbdhcffah", b"gcccfh", &[(8, 11, 1), (4, 7, 2), (0, 1, 3)]),
    (b"fgdgecag", b"bf", b"f", &[(0, 1, 1)]),
    (b"babbbbbaaaaa", b"aba", b"aba", &[(11, 2, 1), (6, 1, 1), (1, 0, 1)]),
    (b"aaaa", b"adfdacfccgf", b"aa", &[(3, 4, 1), (2, 0, 1)]),
    (b"", b"echefad", b"", &[]),
    (b"cfbdabac", b"fcch", b"fc", &[(7, 2, 1), (1, 0, 1)]),
    (b"abbbaabaaaba", b"aba", b"aba", &[(9, 0, 3)]),
    (b"bbbabb", b"", b"", &[]),
    (b"ccg", b"ghhcgdde", b"cg", &[(1, 3, 2)]),
    (b"abaaabbbab", b"eeea", b"a", &[(8, 3, 1)]),
    (b"d", b"dcecgc", b"d", &[(0, 0, 1)]),
    (b"aa", b"gadbdagfcefbea", b"aa", &[(1, 13, 1), (0, 5, 1)]),
    (b"babababbbaaa", b"hghbd", b"b", &[(8, 3, 1)]),
    (b"gacghh", b"aa", b"a", &[(1, 0, 1)]),
    (b"abcc", b"hech", b"c", &[(3, 2, 1)]),
    (b"ba", b"df", b"", &[]),
    (b"aabaabbaabbbba", b"cacfgaefcec", b"aa", &[(13, 5, 1), (8, 1, 1)]),
    (b"c", b"bba", b"", &[]),
    (b"abaaabaa", b"a", b"a", &[(7, 0, 1)]),
    (b"", b"babbbaa", b"", &[]),
    (b"eaeefbhhfdahad", b"bba", b"ba", &[(12, 2, 1), (5, 0, 1)]),
    (b"ecbdg", b"bdefhhh", b"bd", &[(2, 0, 2)]),
    (b"fhefahbfabgfdg", b"edadefeabbb", b"eafab", &[(8, 7, 2), (7, 5, 1), (4, 2, 1), (2, 0, 1)]),
];
