//! TODO-scope log
