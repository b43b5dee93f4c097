"""The command line: one file a command; arguments are parsed before any backend is imported."""
