//! Server-side apply as its users see it: who writes what, and what comes of it.

mod custom;
mod kubectl;
mod large;
mod operations;
mod pods;
mod properties;
mod story;
