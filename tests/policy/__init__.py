"""Tests of the judge: compiler, decoder, automaton, oracle, walks and gate."""
