"""The judge: apparmor_parser, the compiled policy as values, questions to its automata, and the proof."""
