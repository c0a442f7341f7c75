"""The node over HTTP: Litestar routes around the use cases, problem details for every error."""
