//! Rules for TOTP tokens (RFC 6238).
//!
//! Scope: the values of OpenLDAP's otp overlay (slapo-otp(5)) that make a token that Kanidm
//! imports: secret, algorithm, digits and time step. No rule or error repeats any part of a secret.

use super::Rule;

/// Maximum bytes of a secret: the block of SHA-512. HMAC hashes a longer key first, so nobody uses
/// one. A secret that is encrypted for another server (`oathEncKey`) is longer.
pub const MAX_SECRET: usize = 128;

/// Minimum and maximum seconds of a time step. Kanidm refuses less, and with more than the time
/// since 1970 it cannot compute a code. A day is far more than any device uses.
const STEPS: std::ops::RangeInclusive<u32> = 30..=86_400;

const EMPTY: Rule = "its oathSecret is empty";
pub(crate) const LONG: Rule =
    "its oathSecret has more than 128 bytes: it is encrypted, or no TOTP secret";
const ALGORITHM: Rule = "its oathHMACAlgorithm must be 1.2.840.113549.2.7 (SHA1), .9 (SHA256) or .11 (SHA512): Kanidm knows no other";
const DIGITS: Rule = "its oathOTPLength must be 6 or 8: Kanidm knows no other length";
const STEP: Rule = "its oathTOTPTimeStepPeriod must be from 30 to 86400 seconds";

/// The hash function of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA1
    Sha1,
    /// HMAC-SHA256
    Sha256,
    /// HMAC-SHA512
    Sha512,
}

impl Algorithm {
    /// The name in Kanidm.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// How codes are made from a secret. Many tokens share these parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotpParams {
    /// The hash function.
    pub algorithm: Algorithm,
    /// 6 or 8.
    pub digits: u32,
    /// Seconds.
    pub step: u32,
}

impl TotpParams {
    /// Reads the parameters as the directory stores them.
    ///
    /// # Errors
    /// The first rule that a value breaks.
    pub fn read(algorithm: &[u8], digits: &[u8], step: &[u8]) -> Result<TotpParams, Rule> {
        // The OIDs of RFC 8018, appendix B.1.
        let algorithm = match algorithm {
            b"1.2.840.113549.2.7" => Algorithm::Sha1,
            b"1.2.840.113549.2.9" => Algorithm::Sha256,
            b"1.2.840.113549.2.11" => Algorithm::Sha512,
            _ => return Err(ALGORITHM),
        };
        let digits = number(digits).filter(|digits| matches!(digits, 6 | 8)).ok_or(DIGITS)?;
        let step = number(step).filter(|step| STEPS.contains(step)).ok_or(STEP)?;
        Ok(TotpParams { algorithm, digits, step })
    }
}

/// A token that Kanidm imports. It has no `Debug`, because it holds a secret.
#[derive(Clone)]
pub struct Totp {
    secret: Vec<u8>,
    params: TotpParams,
}

impl Totp {
    /// A token of this secret.
    ///
    /// # Errors
    /// The rule that the secret breaks.
    pub fn new(secret: &[u8], params: TotpParams) -> Result<Totp, Rule> {
        self::secret(secret).map(|()| Totp { secret: secret.to_vec(), params })
    }

    /// The shared secret.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// How its codes are made.
    pub fn params(&self) -> TotpParams {
        self.params
    }
}

/// Checks a secret.
///
/// # Errors
/// The rule that it breaks.
pub fn secret(secret: &[u8]) -> Result<(), Rule> {
    match secret.len() {
        0 => Err(EMPTY),
        1..=MAX_SECRET => Ok(()),
        _ => Err(LONG),
    }
}

/// An INTEGER of RFC 4517 §3.3.16, without sign.
fn number(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(text).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &[u8] = b"1.2.840.113549.2.7";

    #[test]
    fn parameters_that_kanidm_knows() {
        for (oid, algorithm) in [
            (SHA1, Algorithm::Sha1),
            (b"1.2.840.113549.2.9", Algorithm::Sha256),
            (b"1.2.840.113549.2.11", Algorithm::Sha512),
        ] {
            for (digits, step) in [(6, 30), (8, 30), (6, 60), (8, 86_400)] {
                let read = TotpParams::read(
                    oid,
                    digits.to_string().as_bytes(),
                    step.to_string().as_bytes(),
                );
                assert_eq!(read, Ok(TotpParams { algorithm, digits, step }));
            }
        }
    }

    #[test]
    fn parameters_that_kanidm_does_not_know() {
        // SHA-224 and SHA-384, which the overlay computes, and other spellings.
        for oid in ["1.2.840.113549.2.8", "1.2.840.113549.2.10", "", "sha1", " 1.2.840.113549.2.7"]
        {
            assert_eq!(TotpParams::read(oid.as_bytes(), b"6", b"30"), Err(ALGORITHM), "{oid}");
        }
        for digits in ["", "5", "7", "9", "10", "-6", "+6", "six", "4294967302", "\u{ff16}"] {
            assert_eq!(TotpParams::read(SHA1, digits.as_bytes(), b"30"), Err(DIGITS), "{digits}");
        }
        for step in ["", "0", "1", "29", "86401", "-30", "4294967326", "99999999999999999999"] {
            assert_eq!(TotpParams::read(SHA1, b"6", step.as_bytes()), Err(STEP), "{step}");
        }
        assert_eq!(TotpParams::read(SHA1, b"\xff", b"30"), Err(DIGITS));
    }

    #[test]
    fn secrets_at_every_boundary() {
        for (length, expected) in
            [(0, Err(EMPTY)), (1, Ok(())), (20, Ok(())), (128, Ok(())), (129, Err(LONG))]
        {
            assert_eq!(secret(&vec![7; length]), expected, "{length}");
        }
    }
}
