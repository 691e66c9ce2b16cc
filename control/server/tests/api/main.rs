//! The API as clients meet it: real TLS, a real registry, a store in a temporary directory.

mod access;
mod apply;
mod audit;
mod cluster;
mod customs;
mod fairness;
mod forms;
mod nodes;
mod objects;
mod pages;
mod servers;
mod streams;
mod tokens;
mod watches;
