//! pal-image
