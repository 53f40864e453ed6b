//! The Helm chart: what it makes of its values, and what a real API server makes of that.

mod configurations;
mod installing;
mod kustomize;
mod manifest;
mod mistakes;
mod others_crds;
mod programs;
mod snapshots;
