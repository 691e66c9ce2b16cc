//! pal-network
