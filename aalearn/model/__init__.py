"""Matter: frozen values that every layer speaks of (events, accesses, profiles, patterns, exact text, errors)."""
