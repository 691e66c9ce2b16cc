//! pal-tests
