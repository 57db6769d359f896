//! TODO-scope
