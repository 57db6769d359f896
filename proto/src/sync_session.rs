//! The refresh as a state machine.
