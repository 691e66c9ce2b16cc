//! pal-server
