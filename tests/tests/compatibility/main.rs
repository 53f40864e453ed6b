//! What lets a release follow the last one, and go back to it: its objects are still accepted, and its programs work beside today's.
//! [tests/last-release] has what the last release consists of.

mod allowed;
mod chart_values;
mod crds;
mod formats;
mod generate;
mod narrowing;
mod newer;
mod objects;
mod releases;
mod schema;
mod tests;
