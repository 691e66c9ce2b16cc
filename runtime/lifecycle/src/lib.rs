//! pal-lifecycle
