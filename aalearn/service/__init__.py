"""The service: sources that never end, through intake into the store, for months."""
