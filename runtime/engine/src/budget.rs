//! The memory that a workload's live instances share.
