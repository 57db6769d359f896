//! Control values of RFC 4533 §2.
