"""The command line: one file a command; arguments are parsed before any backend is imported.

A command is a file here whose docstring begins ``kgenre NAME``: WHAT IT DOES, with a function ``run(arguments)`` that
takes the words after the command and returns the exit code. It shows up in ``kgenre --help`` by being there.
"""
