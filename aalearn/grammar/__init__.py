"""Language: pyparsing grammars of log records and of profile text, and the compiled shapes that make them fast."""
