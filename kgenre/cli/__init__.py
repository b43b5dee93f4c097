"""The command line: one module per command; arguments are parsed before any backend is imported."""
