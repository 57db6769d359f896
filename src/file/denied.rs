//! A denied access in words: the user, the file, and the command that allows it.
//!
//! Scope: reads modes, owners and the names of users. Changes nothing.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The access that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To the contents of a file.
    Read,
    /// To a folder, on the way to a file in it.
    Enter,
    /// To a socket.
    Connect,
    /// To a folder, to create files in it.
    Write,
}

impl Access {
    /// The permission bit of other users.
    fn bit(self) -> u32 {
        match self {
            Access::Read => 0o4,
            Access::Connect | Access::Write => 0o2,
            Access::Enter => 0o1,
        }
    }

    /// The letter for chmod(1).
    fn letter(self) -> char {
        match self {
            Access::Read => 'r',
            Access::Connect | Access::Write => 'w',
            Access::Enter => 'x',
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Connect => "connect to",
            Access::Enter => "enter the folder",
            Access::Write => "write to the folder",
        }
    }
}

/// A user or a group.
#[derive(Clone, Debug)]
struct Id {
    number: u32,
    name: Option<String>,
}

impl Id {
    fn user(number: u32) -> Id {
        Id { number, name: name_in("/etc/passwd", number) }
    }

    fn group(number: u32) -> Id {
        Id { number, name: name_in("/etc/group", number) }
    }

    /// The name, else the number.
    fn word(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.number.to_string())
    }
}

/// The owner, the group and the mode of a file.
struct Owned {
    user: Id,
    group: Id,
    mode: u32,
}

/// Says who may not read `path`, or may not enter which folder above it, and how to allow it.
/// `None` if that cannot be found out. The text contains the path only if the file exists: a
/// secret in the place of a path stays hidden.
pub(crate) fn explain(path: &Path, access: Access) -> Option<String> {
    let me = fs::metadata("/proc/self").ok()?;
    let (target, access) = match closed_folder(path) {
        Some(folder) => (folder, Access::Enter),
        None => (path, access),
    };
    let found = owned(&fs::metadata(target).ok()?);
    Some(text(&Id::user(me.uid()), &Id::group(me.gid()), target, &found, access))
}

fn owned(metadata: &Metadata) -> Owned {
    Owned {
        user: Id::user(metadata.uid()),
        group: Id::group(metadata.gid()),
        mode: metadata.mode() & 0o7777,
    }
}

/// The uppermost folder that this process may not enter.
fn closed_folder(path: &Path) -> Option<&Path> {
    let denied = |path: &&Path| {
        fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    let folder = path.ancestors().filter(denied).last()?.parent()?;
    Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

fn text(user: &Id, group: &Id, target: &Path, found: &Owned, access: Access) -> String {
    let (verb, path) = (access.verb(), quoted(target));
    let who = match &user.name {
        Some(name) => format!("user {name} (uid {})", user.number),
        None => format!("the user with uid {}", user.number),
    };
    format!(
        "{who} may not {verb} {path} (mode {:04o}, {}:{}). {}",
        found.mode,
        found.user.word(),
        found.group.word(),
        remedy(user, group, &path, found, access)
    )
}

fn remedy(user: &Id, group: &Id, path: &str, found: &Owned, access: Access) -> String {
    let (bit, letter) = (access.bit(), access.letter());
    let is_owner = user.number == found.user.number;
    let has = |shift: u32| found.mode & (bit << shift) != 0;
    if (is_owner && has(6)) || (!is_owner && has(3) && has(0)) {
        return "The mode allows it, so look for SELinux, AppArmor or a sandbox: journalctl -k"
            .to_owned();
    }
    if is_owner {
        return format!("Run: chmod u+{letter} {path}");
    }
    // The group may do it already, so it owns the file on purpose.
    let by_group = has(3) && found.group.number != 0;
    let owner = found.group.word();
    match (&user.name, by_group) {
        (Some(user), true) => {
            format!("Run this as a user of that group, or run as root: usermod -aG {owner} {user}")
        }
        (Some(_), false) => {
            let group = group.word();
            format!("Run as root: chgrp {group} {path} && chmod g+{letter} {path}")
        }
        // systemd makes such users for each start (DynamicUser=).
        (None, true) => format!("Add to the unit: SupplementaryGroups={owner}"),
        (None, false) if access == Access::Write => {
            format!(
                "Give a group the right to write there, and add it to the unit: chgrp GROUP {path} && chmod g+w {path}; SupplementaryGroups=GROUP"
            )
        }
        (None, false) => {
            "Add LoadCredential= to the unit, and write %d/NAME for the path".to_owned()
        }
    }
}

/// The name of a number in a file like passwd(5).
fn name_in(file: &str, number: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let own: u32 = fields.nth(1)?.parse().ok()?;
        (own == number).then(|| name.to_owned())
    })
}

/// The path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-@%+:".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_the_mode() {
        let id =
            |number, name: &str| Id { number, name: (!name.is_empty()).then(|| name.to_owned()) };
        let (sync, dynamic) = (id(990, "sync"), id(61184, ""));
        for (user, owner, group, mode, access, expected) in [
            (
                &sync,
                id(0, "root"),
                id(0, "root"),
                0o600,
                Access::Read,
                "user sync (uid 990) may not read /a/b (mode 0600, root:root). \
                 Run as root: chgrp sync /a/b && chmod g+r /a/b",
            ),
            (
                &sync,
                id(0, "root"),
                id(42, "keys"),
                0o640,
                Access::Read,
                "user sync (uid 990) may not read /a/b (mode 0640, root:keys). \
                 Run this as a user of that group, or run as root: usermod -aG keys sync",
            ),
            (
                &sync,
                id(990, "sync"),
                id(990, "sync"),
                0o200,
                Access::Read,
                "user sync (uid 990) may not read /a/b (mode 0200, sync:sync). \
                 Run: chmod u+r /a/b",
            ),
            (
                &sync,
                id(0, "root"),
                id(7, ""),
                0o700,
                Access::Enter,
                "user sync (uid 990) may not enter the folder /a/b (mode 0700, root:7). \
                 Run as root: chgrp sync /a/b && chmod g+x /a/b",
            ),
            (
                &sync,
                id(0, "root"),
                id(0, "root"),
                0o755,
                Access::Write,
                "user sync (uid 990) may not write to the folder /a/b (mode 0755, root:root). \
                 Run as root: chgrp sync /a/b && chmod g+w /a/b",
            ),
            (
                &dynamic,
                id(0, "root"),
                id(0, "root"),
                0o755,
                Access::Write,
                "the user with uid 61184 may not write to the folder /a/b (mode 0755, root:root). \
                 Give a group the right to write there, and add it to the unit: \
                 chgrp GROUP /a/b && chmod g+w /a/b; SupplementaryGroups=GROUP",
            ),
            (
                &dynamic,
                id(0, "root"),
                id(0, "root"),
                0o600,
                Access::Read,
                "the user with uid 61184 may not read /a/b (mode 0600, root:root). \
                 Add LoadCredential= to the unit, and write %d/NAME for the path",
            ),
            (
                &dynamic,
                id(0, "root"),
                id(42, "ldap"),
                0o770,
                Access::Connect,
                "the user with uid 61184 may not connect to /a/b (mode 0770, root:ldap). \
                 Add to the unit: SupplementaryGroups=ldap",
            ),
            (
                &sync,
                id(0, "root"),
                id(0, "root"),
                0o644,
                Access::Read,
                "user sync (uid 990) may not read /a/b (mode 0644, root:root). \
                 The mode allows it, so look for SELinux, AppArmor or a sandbox: journalctl -k",
            ),
        ] {
            let found = Owned { user: owner, group, mode };
            let said = text(user, &id(990, "sync"), Path::new("/a/b"), &found, access);
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_path_is_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/etc/kanidm/a-b.pem")), "/etc/kanidm/a-b.pem");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }

    #[test]
    fn names_are_those_of_the_system() {
        assert_eq!(name_in("/etc/passwd", 0).as_deref(), Some("root"));
        assert_eq!(name_in("/nonexistent", 0), None);
    }
}
