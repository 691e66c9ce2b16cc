//! pal-scheduler
