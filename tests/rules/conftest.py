"""Fixtures of the rules' tests."""

from tests.rules.fixtures import compiler, compiler41, compiler72

__all__ = ["compiler", "compiler41", "compiler72"]
