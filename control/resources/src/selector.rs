//! Label and field selectors, from query strings and from objects.
