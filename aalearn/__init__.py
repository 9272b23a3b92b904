"""aalearn learns least-privilege AppArmor profiles from audit logs and proves them by the compiled policy."""

__version__ = "0.1.0"
