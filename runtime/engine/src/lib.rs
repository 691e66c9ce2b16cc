//! pal-engine
