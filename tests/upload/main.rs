//! Kanidm's side: the HTTP client, the upload against a model of Kanidm and against the real
//! engine, and the test server around that engine.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod bounds;
mod engine;
mod exchange;
mod jobs;
mod kanidm_client;
mod kanidm_server;
mod locks;
mod outsiders;
mod refused;
mod search;
mod sequences;
mod world;
