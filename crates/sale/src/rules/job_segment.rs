//! When a segment of the log of jobs is turned and emptied.

/// The rows of a segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SegmentRows {
    /// Attempts.
    pub rows: i64,
    /// Attempts that have not ended.
    pub open: i64,
}

/// A step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SegmentStep {
    /// New attempts go to this segment.
    Turn(usize),
    /// Open attempts of this segment are copied to the current one, and it is truncated.
    Clear(usize),
}

/// The attempts after which the next segment is used.
const TURN_ROWS: i64 = 10_000;

/// A segment with so many open attempts or fewer is always worth a copy.
const FEW_OPEN: i64 = 100;

/// Returns the next step, if there is one: a segment is emptied when at most a quarter of its attempts are open, so that
/// copies cost less than the jobs themselves.
#[must_use]
pub fn plan_segments(current: usize, segments: &[SegmentRows]) -> Option<SegmentStep> {
    let others = || segments.iter().enumerate().filter(|(at, _)| *at != current);
    let is_worth = |SegmentRows { rows, open }: &SegmentRows| {
        *rows > 0 && (*open * 4 <= *rows || *open <= FEW_OPEN)
    };
    if let Some((at, _)) = others().find(|(_, segment)| is_worth(segment)) {
        return Some(SegmentStep::Clear(at));
    }
    let SegmentRows { rows, open } = segments.get(current).copied().unwrap_or_default();
    let is_full = rows >= TURN_ROWS && open * 2 <= rows;
    let is_over = rows > FEW_OPEN && open == 0;
    let free = others().find(|(_, segment)| segment.rows == 0).map(|(at, _)| at);
    free.filter(|_| is_full || is_over).map(SegmentStep::Turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(current: usize, segments: [(i64, i64); 4]) -> Option<SegmentStep> {
        plan_segments(current, &segments.map(|(rows, open)| SegmentRows { rows, open }))
    }

    #[test]
    fn finished_segments_are_emptied() {
        let empty = (0, 0);
        assert_eq!(plan(0, [(9_000, 10), empty, empty, empty]), None);
        assert_eq!(plan(0, [(10_000, 10), empty, empty, empty]), Some(SegmentStep::Turn(1)));
        assert_eq!(plan(1, [(10_000, 2_500), empty, empty, empty]), Some(SegmentStep::Clear(0)));
        assert_eq!(plan(1, [(10_000, 2_501), empty, empty, empty]), None);
        assert_eq!(plan(1, [(200, 100), empty, empty, empty]), Some(SegmentStep::Clear(0)));
        assert_eq!(plan(2, [empty, empty, (101, 0), empty]), Some(SegmentStep::Turn(0)));
    }

    #[test]
    fn backlog_stays_where_it_is() {
        let full = (20_000, 20_000);
        assert_eq!(plan(0, [full, full, full, full]), None);
        assert_eq!(plan(0, [full, (0, 0), (0, 0), (0, 0)]), None);
    }
}
