//! TODO-scope cli
