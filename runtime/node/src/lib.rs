//! pal-node
