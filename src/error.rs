//! TODO-scope error
