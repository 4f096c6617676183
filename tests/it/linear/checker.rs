//! Whether the operations on one register can have happened one after the other, each at a moment
//! between its question and its answer. Pure.
//!
//! The search is that of Wing and Gong: any operation may be next that was asked before every other
//! one that is left was answered, and whose outcome fits what the register holds then. A set of
//! operations that was left behind with the same value is not looked at twice.

use super::history::{Call, Operation, Value};
use std::{collections::HashSet, fmt};

/// So many sets of operations are looked at at most. A history that is in order takes about one for
/// each operation.
const LOOKS_MAX: usize = 2_000_000;

/// A history that no order explains.
#[derive(Debug)]
pub(super) struct Violation {
    /// All operations, in the order in which they were asked.
    operations: Vec<Operation>,
    /// Places of those that fit, in the longest order that was found.
    order: Vec<usize>,
    /// What the register holds behind them.
    value: Value,
    /// The search was ended because it took too long: there may be an order.
    is_unfinished: bool,
}

/// Looks for an order of all operations whose outcome is known, together with any of the others.
/// The register is absent at first.
///
/// # Errors
/// A [`Violation`] when there is none.
pub(super) fn check(history: &[Operation]) -> Result<(), Violation> {
    check_within(history, LOOKS_MAX)
}

fn check_within(history: &[Operation], looks_max: usize) -> Result<(), Violation> {
    let is_of_use = |operation: &&Operation| operation.is_known() || operation.call != Call::Read;
    let mut operations: Vec<Operation> = history.iter().filter(is_of_use).copied().collect();
    operations.sort_by_key(|operation| operation.asked);
    let mut search = Search::new(&operations, looks_max);
    if search.ends_from(None) {
        return Ok(());
    }
    let Search {
        longest,
        seen,
        value,
        ..
    } = search;
    Err(Violation {
        order: longest,
        value,
        is_unfinished: seen.len() >= looks_max,
        operations,
    })
}

struct Search<'a> {
    operations: &'a [Operation],
    looks_max: usize,
    /// A bit for each operation that is in the order.
    taken: Vec<u64>,
    /// The order so far.
    order: Vec<usize>,
    /// Operations with a known outcome that are not in it.
    left: usize,
    /// What was looked at.
    seen: HashSet<(Vec<u64>, Value)>,
    /// The order that left the fewest, how many it left, and the value behind it.
    longest: Vec<usize>,
    fewest: usize,
    value: Value,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation], looks_max: usize) -> Self {
        let left = operations.iter().filter(|one| one.is_known()).count();
        Self {
            operations,
            looks_max,
            taken: vec![0; operations.len().div_ceil(64)],
            order: Vec::new(),
            left,
            seen: HashSet::new(),
            longest: Vec::new(),
            fewest: left,
            value: None,
        }
    }

    /// Whether the order so far, which left `value`, can be continued to the end.
    fn ends_from(&mut self, value: Value) -> bool {
        if self.left == 0 {
            return true;
        }
        let is_over = self.seen.len() >= self.looks_max;
        if is_over || !self.seen.insert((self.taken.clone(), value)) {
            return false;
        }
        if self.left < self.fewest {
            self.fewest = self.left;
            self.value = value;
            self.longest.clone_from(&self.order);
        }
        for at in self.next() {
            let Some(after) = self.operations[at].after(value) else {
                continue;
            };
            self.take(at);
            if self.ends_from(after) {
                return true;
            }
            self.put_back(at);
        }
        false
    }

    /// Places of the operations that may be next: those that were answered first come first.
    fn next(&self) -> Vec<usize> {
        let mut until = u64::MAX;
        let mut found = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            if operation.asked > until {
                break;
            }
            if self.taken[at / 64] & (1 << (at % 64)) == 0 {
                until = until.min(operation.until());
                found.push(at);
            }
        }
        found.sort_by_key(|at| self.operations[*at].until());
        found
    }

    fn take(&mut self, at: usize) {
        self.taken[at / 64] |= 1 << (at % 64);
        self.order.push(at);
        self.left -= usize::from(self.operations[at].is_known());
    }

    fn put_back(&mut self, at: usize) {
        self.taken[at / 64] &= !(1 << (at % 64));
        self.order.pop();
        self.left += usize::from(self.operations[at].is_known());
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unfinished {
            writeln!(f, "no order was found in {LOOKS_MAX} looks")?;
        }
        writeln!(
            f,
            "in order, with their place in the longest order that fits:"
        )?;
        for (at, operation) in self.operations.iter().enumerate() {
            match self.order.iter().position(|taken| *taken == at) {
                Some(place) => writeln!(f, "{place:>4} {operation}")?,
                None => writeln!(f, "   . {operation}")?,
            }
        }
        let value = self
            .value
            .map_or_else(|| "-".to_owned(), |value| value.to_string());
        writeln!(f, "behind that order the register holds {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::history::Outcome::{self, Done, Found, Refused, Unknown},
        Call::{Read, Swap, Write},
        *,
    };

    /// When it was asked and answered, what, and what came of it.
    type Row = (u64, u64, Call, Outcome);

    fn operations(rows: &[Row]) -> Vec<Operation> {
        let operation = |(user, row): (usize, &Row)| Operation {
            user,
            asked: row.0,
            answered: row.1,
            call: row.2,
            outcome: row.3,
        };
        rows.iter().enumerate().map(operation).collect()
    }

    fn fits(rows: &[Row]) -> bool {
        check(&operations(rows)).is_ok()
    }

    fn swap(expected: u64, new: u64) -> Call {
        Swap {
            expected: Some(expected),
            new: Some(new),
        }
    }

    fn delete(expected: u64) -> Call {
        Swap {
            expected: Some(expected),
            new: None,
        }
    }

    #[test]
    fn one_after_the_other_is_an_order() {
        assert!(fits(&[]));
        let created = Swap {
            expected: None,
            new: Some(1),
        };
        assert!(fits(&[
            (0, 1, Read, Found(None)),
            (2, 3, created, Done),
            (4, 5, created, Refused),
            (6, 7, Read, Found(Some(1))),
            (8, 9, swap(1, 2), Done),
            (10, 11, Write(None), Done),
            (12, 13, delete(2), Done),
            (14, 15, Read, Found(None)),
        ]));
    }

    #[test]
    fn what_overlaps_may_have_any_order() {
        let writes = [
            (0, 10, Write(Some(1)), Done),
            (0, 10, Write(Some(2)), Done),
            (0, 10, Write(None), Done),
        ];
        for last in [None, Some(1), Some(2)] {
            let read = (11, 12, Read, Found(last));
            assert!(fits(&[&writes[..], &[read]].concat()), "{last:?}");
        }
        // A read beside a write finds the one or the other value.
        for found in [None, Some(1)] {
            let rows = [(0, 10, Write(Some(1)), Done), (2, 3, Read, Found(found))];
            assert!(fits(&rows), "{found:?}");
        }
        // At the same microsecond both orders are possible.
        assert!(fits(&[
            (0, 5, Write(Some(1)), Done),
            (5, 6, Read, Found(None)),
        ]));
    }

    #[test]
    fn a_stale_read_is_found() {
        assert!(!fits(&[
            (0, 1, Write(Some(1)), Done),
            (2, 3, Write(Some(2)), Done),
            (4, 5, Read, Found(Some(1))),
        ]));
        // Once one has seen the new value, nobody sees the old one.
        assert!(!fits(&[
            (0, 1, Write(Some(1)), Done),
            (2, 20, Write(Some(2)), Done),
            (3, 4, Read, Found(Some(2))),
            (5, 6, Read, Found(Some(1))),
        ]));
        assert!(!fits(&[
            (0, 1, Write(Some(1)), Done),
            (2, 3, Write(None), Done),
            (4, 5, Read, Found(Some(1))),
        ]));
    }

    #[test]
    fn a_lost_update_is_found() {
        let first = (0, 1, Write(Some(1)), Done);
        // Two swap the same value away.
        assert!(!fits(&[
            first,
            (2, 10, swap(1, 2), Done),
            (2, 10, swap(1, 3), Done),
        ]));
        assert!(fits(&[
            first,
            (2, 10, swap(1, 2), Done),
            (2, 10, swap(1, 3), Refused),
        ]));
        // An acknowledged write is gone.
        assert!(!fits(&[first, (2, 3, Read, Found(None))]));
        assert!(!fits(&[
            first,
            (2, 3, swap(1, 2), Done),
            (4, 5, Read, Found(Some(1))),
        ]));
    }

    #[test]
    fn a_write_that_was_refused_does_not_appear() {
        let first = (0, 1, Write(Some(1)), Done);
        assert!(!fits(&[
            first,
            (2, 3, swap(7, 2), Refused),
            (4, 5, Read, Found(Some(2))),
        ]));
        assert!(!fits(&[
            first,
            (2, 3, Write(Some(2)), Refused),
            (4, 5, Read, Found(Some(2))),
        ]));
        // And it is not refused where it had to be carried out.
        assert!(!fits(&[first, (2, 3, swap(1, 2), Refused)]));
        assert!(!fits(&[first, (2, 3, delete(1), Refused)]));
        assert!(!fits(&[(0, 1, delete(1), Refused)]));
    }

    #[test]
    fn what_nobody_knows_happened_at_any_time_or_never() {
        let first = (0, 1, Write(Some(1)), Done);
        let lost = (2, 3, Write(Some(2)), Unknown);
        let read = |at: u64, value: u64| (at, at + 1, Read, Found(Some(value)));
        assert!(fits(&[first, lost, read(4, 1), read(6, 1)]));
        assert!(fits(&[first, lost, read(4, 2)]));
        assert!(fits(&[first, lost, read(4, 1), read(6, 2)]));
        // Only once, and not before it was asked.
        assert!(!fits(&[first, lost, read(4, 2), read(6, 1)]));
        assert!(!fits(&[first, (4, 5, Write(Some(2)), Unknown), read(2, 2)]));
        let again = (6, 7, Write(Some(3)), Done);
        assert!(fits(&[first, lost, read(4, 1), again, read(8, 2)]));
        assert!(!fits(&[first, lost, read(4, 2), again, read(8, 2)]));
        // A swap only where its value is.
        let swapped = (2, 3, swap(1, 2), Unknown);
        assert!(fits(&[first, swapped, read(4, 1), read(6, 2)]));
        let late = (8, 9, swap(1, 2), Unknown);
        assert!(!fits(&[first, again, late, read(10, 2)]));
        // A read that was not answered says nothing.
        assert!(fits(&[first, (2, 3, Read, Unknown), read(4, 1)]));
    }

    #[test]
    fn what_nobody_knows_explains_a_refusal() {
        let first = (0, 1, Write(Some(1)), Done);
        let lost = (2, 3, Write(Some(2)), Unknown);
        let refused = (4, 5, swap(1, 3), Refused);
        assert!(fits(&[first, lost, refused]));
        assert!(!fits(&[first, lost, refused, (6, 7, Read, Found(Some(1)))]));
    }

    #[test]
    fn long_histories_take_about_a_look_for_each_operation() {
        let mut rows = Vec::new();
        for number in 0..400 {
            let at = number * 10;
            rows.push((at, at + 25, Write(Some(number)), Done));
            rows.push((at + 1, at + 2, Write(Some(10_000 + number)), Done));
            if number % 100 == 0 {
                rows.push((at, at + 1, Write(Some(20_000 + number)), Unknown));
            }
        }
        let history = operations(&rows);
        assert!(check_within(&history, 10 * history.len()).is_ok());
    }

    #[test]
    fn a_violation_shows_how_far_an_order_goes() {
        let rows = [
            (0, 1_500, Write(Some(1)), Done),
            (2_000, 3_000, swap(1, 2), Done),
            (4_000, 5_000, Read, Found(Some(1))),
        ];
        let violation = check(&operations(&rows)).expect_err("a stale read");
        assert_eq!(
            violation.to_string(),
            "in order, with their place in the longest order that fits:\n   \
             0      0.000      1.500 u0 write 1: done\n   \
             1      2.000      3.000 u1 swap 1 for 2: done\n   \
             .      4.000      5.000 u2 read: 1\n\
             behind that order the register holds 2\n"
        );
        let ended = check_within(&operations(&rows), 1).expect_err("too few looks");
        assert!(ended.is_unfinished);
    }
}
