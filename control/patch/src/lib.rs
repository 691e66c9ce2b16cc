//! pal-patch
