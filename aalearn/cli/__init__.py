"""Faces: the commands that people type. One module a command group; nothing heavy is imported before a command runs."""
