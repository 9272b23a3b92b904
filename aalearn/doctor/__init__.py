"""Is this node able to learn and to enforce? Probes of the machine, and what to do about each finding."""
