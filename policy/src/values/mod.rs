//! The types of single values, stricter than those of vdi-api or specific to the policy: what they accept, and how they are
//! read from JSON.

pub mod address;
pub mod domain;
pub mod image;
pub mod template_name;
