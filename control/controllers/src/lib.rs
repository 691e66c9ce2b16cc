//! pal-controllers
