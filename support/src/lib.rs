//! What the tests, benchmarks and examples of millpond share. Never published.
