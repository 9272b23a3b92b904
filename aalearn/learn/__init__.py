"""Mind: from accesses to a profile that a person would sign. Pure: no files, no SQL, no YAML, no clock."""
