//! pal-proxy
