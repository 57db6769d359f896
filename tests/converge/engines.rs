//! Real Kanidm engines for the courses.

use crate::support::kanidm::KanidmServer;

/// Real Kanidms, one after the other: the more one holds, the longer each POST takes.
#[derive(Default)]
pub struct Engines {
    current: Option<KanidmServer>,
    courses: u64,
}

impl Engines {
    /// A Kanidm, and a number that no other course has.
    pub fn next(&mut self) -> (&KanidmServer, u64) {
        self.courses += 1;
        if self.courses.is_multiple_of(8) {
            self.current = None;
        }
        (self.current.get_or_insert_with(KanidmServer::start), self.courses)
    }
}
