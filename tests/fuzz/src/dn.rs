//! Distinguished names: the comparison form of a comparison form is itself.

use ldap_content_sync::dn::{Dn, normalize, normalize_into};

/// The text of a name.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let form = match normalize(text) {
        Ok(form) => form,
        Err(error) => {
            assert!(error.offset <= text.len() && !error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(normalize(&form).as_ref(), Ok(&form));
    assert_eq!(Dn::parse(text).map(|dn| dn.as_str().to_owned()).as_ref(), Ok(&form));
    let mut buffer = "left over".to_owned();
    normalize_into(text, &mut buffer).unwrap();
    assert_eq!(buffer, form);
    // White space before a name changes nothing.
    assert_eq!(normalize(&format!(" {text}")).as_ref(), Ok(&form));
    assert!(form.chars().all(|c| !c.is_ascii_control()));
}
