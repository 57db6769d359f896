//! A course of events, as data: drawn by chance, shrunk, and kept as a line of JSON.

use serde::{Deserialize, Serialize};

use crate::support::trouble::Trouble;

/// Stands for an entry: its values are made of it, and so is its UUID.
pub type Label = u16;

/// Everything that happens, in order. After the last event everything is mended, and a clean run
/// follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course {
    pub server: ServerKind,
    /// Groups follow when a member is renamed or deleted, without counting as changed (slapd's
    /// refint overlay).
    pub refint: bool,
    /// Whether a 409 of Kanidm names the attributes. Of the model only.
    pub names_conflicts: bool,
    pub events: Vec<Event>,
}

/// What kind of directory server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerKind {
    /// slapd, with a session log of so many entries, or without.
    Slapd(Option<usize>),
    /// 389, with the retro changelog.
    Ds389,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Change(Change),
    /// `ldap_filter`, one of [`crate::oracle::FILTERS`].
    Filter(usize),
    /// `invalid_entries`, one of [`crate::oracle::POLICIES`].
    Policy(usize),
    /// `kanidm system sync force-refresh`.
    ForceRefresh,
    Run(Run),
}

/// A change in the directory. What is impossible there (an entry that is not there, a DN that is
/// taken) does not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Person(Label),
    Group(Label),
    /// A group with name and number of a person, and no other member.
    PrivateGroup(Label, Label),
    Delete(Label),
    /// The first is deleted; the second takes its place, with all its values but the UUID.
    Recreate(Label, Label),
    /// Another display name, or description.
    Display(Label),
    /// The mail address, number, name or DN that belongs to a label.
    Mail(Label, Label),
    Gid(Label, Label),
    Name(Label, Label),
    Rename(Label, Label),
    /// Each gets the value of the next, the last that of the first.
    Rotate(Value, Vec<Label>),
    /// To another ou; [`crate::directory::OUTSIDE`] is not below the base.
    Move(Label, usize),
    /// The entries in it count as unchanged.
    RenameOu(usize, Label),
    Members(Label, Vec<Label>),
    /// A group names a member in another spelling of its DN.
    OddMember(Label, Label),
    /// A group names the DN that belongs to a label, whether an entry has it or not.
    MemberDn(Label, Label),
    /// Out of the default filter, and back.
    Leave(Label),
    Enter(Label),
    Lock(Label, bool),
    /// A `!` before the password hash, as `usermod -L` writes it.
    Mark(Label, bool),
    /// A second user name or group name, after the first.
    Alias(Label, Label),
    /// A group gets the number that belongs to a label.
    GroupGid(Label, Label),
    /// An access rule hides one of [`crate::directory::HIDEABLE`], or shows it again.
    Hide(usize, bool),
    Break(Label, Broken),
    /// A person writes what they like into an attribute of the own entry: one of
    /// [`crate::directory::JUNK`].
    Insider(Label, usize),
    Mend(Label),
    /// The session log is lost, or the changelog trimmed.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Name,
    Dn,
    Mail,
    Gid,
    NameAndDn,
}

/// Which rule of Kanidm an entry breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Broken {
    Password,
    Mail,
    Gid,
    Name,
    Display,
    /// A name that Kanidm has given to an entry of its own: only Kanidm knows that.
    Taken,
}

/// One run, and what happens to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `--full-refresh`
    pub full: bool,
    /// `upload_max_entries`
    pub max_entries: usize,
    /// `upload_max_bytes`
    pub max_bytes: usize,
    /// To which of its POSTs, counted from 0.
    pub trouble: Vec<(u64, Trouble)>,
    /// Kanidm takes too long for more entries than this.
    pub slow: Option<usize>,
    /// In the directory, between the refresh and what is looked up after it.
    pub meanwhile: Vec<Change>,
}
