//! pal-store
