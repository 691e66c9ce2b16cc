//! Amounts, as `100m`, `64Mi`, `1e3` (apimachinery `pkg/api/resource`).
