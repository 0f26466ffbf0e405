//! Save points: after how many changes and how much time the data is saved (`save`).

/// So many changes, once so many seconds have passed since the last save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: u64,
}

impl SavePoint {
    /// Reads the value of the setting, whose form was checked when it was set.
    pub fn parse_all(text: &str) -> Vec<SavePoint> {
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers.chunks_exact(2).map(|pair| SavePoint { seconds: pair[0] as i64, changes: pair[1] }).collect()
    }

    pub fn is_due(self, changes: u64, elapsed_s: i64) -> bool {
        changes >= self.changes && elapsed_s > self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_point_needs_its_changes_and_its_time() {
        let points = SavePoint::parse_all("3600 1 60 10000");
        assert_eq!(points.len(), 2);
        assert!(!points[0].is_due(0, 9999));
        assert!(!points[0].is_due(5, 3600));
        assert!(points[0].is_due(1, 3601));
        assert!(!points[1].is_due(9999, 61));
        assert!(SavePoint::parse_all("").is_empty());
    }
}
