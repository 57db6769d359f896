//! A decoded message written again, from what its accessors say: each length in its shortest form,
//! defaults left out.

use ldap_content_sync::{LdapMessage, LdapResult, ProtocolOp};

/// The message as bytes.
pub fn encode(message: &LdapMessage<'_>) -> Vec<u8> {
    let id = element(0x02, &number(message.message_id));
    let op = match &message.op {
        ProtocolOp::BindResponse(response) => element(
            0x61,
            &[result(&response.result), optional(0x87, response.server_sasl_creds)].concat(),
        ),
        ProtocolOp::SearchResultEntry(entry) => {
            let attributes = entry.attributes().flat_map(|attribute| {
                let values: Vec<u8> =
                    attribute.values().flat_map(|value| element(0x04, value)).collect();
                element(0x30, &[text(attribute.description()), element(0x31, &values)].concat())
            });
            let attributes: Vec<u8> = attributes.collect();
            element(0x64, &[text(entry.dn()), element(0x30, &attributes)].concat())
        }
        ProtocolOp::SearchResultReference(reference) => {
            element(0x73, &reference.uris().flat_map(text).collect::<Vec<u8>>())
        }
        ProtocolOp::SearchResultDone(done) => element(0x65, &result(done)),
        ProtocolOp::ExtendedResponse(response) => {
            let name = optional(0x8a, response.name.map(str::as_bytes));
            element(
                0x78,
                &[result(&response.result), name, optional(0x8b, response.value)].concat(),
            )
        }
        ProtocolOp::IntermediateResponse(response) => element(
            0x79,
            &[optional(0x80, response.name.map(str::as_bytes)), optional(0x81, response.value)]
                .concat(),
        ),
    };
    let controls: Vec<u8> = message
        .controls
        .iter()
        .flat_map(|control| {
            let critical = if control.critical { vec![0x01, 1, 0xff] } else { Vec::new() };
            element(0x30, &[text(control.oid), critical, optional(0x04, control.value)].concat())
        })
        .collect();
    let controls = if controls.is_empty() { controls } else { element(0xa0, &controls) };
    element(0x30, &[id, op, controls].concat())
}

fn result(result: &LdapResult<'_>) -> Vec<u8> {
    let referral: Vec<u8> = result.referral.iter().flat_map(text).collect();
    let referral = if referral.is_empty() { referral } else { element(0xa3, &referral) };
    [
        element(0x0a, &number(result.code.0)),
        text(result.matched_dn),
        text(&result.diagnostic),
        referral,
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    element(0x04, text.as_bytes())
}

fn optional(tag: u8, contents: Option<&[u8]>) -> Vec<u8> {
    contents.map(|contents| element(tag, contents)).unwrap_or_default()
}

/// A number that is not negative, in its shortest form.
fn number(number: u32) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let zeros = octets.iter().take(3).take_while(|octet| **octet == 0).count();
    let shortest = &octets[zeros..];
    if shortest[0] >= 0x80 { [&[0], shortest].concat() } else { shortest.to_vec() }
}

/// Tag, length, contents.
pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let header = match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => vec![tag, short],
        _ => {
            let octets = u32::try_from(contents.len()).unwrap().to_be_bytes();
            let octets = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
            [&[tag, 0x80 | octets.len() as u8], octets].concat()
        }
    };
    [header, contents.to_vec()].concat()
}
