//! pal-registry
