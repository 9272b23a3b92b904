"""Exporters: one module a format. Each registers itself when it is imported."""

from importlib import import_module
from pkgutil import iter_modules

from aalearn.kubernetes.exports.base import FORMATS, Choice, Exported, Exporter, File, Outgoing, Report

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["FORMATS", "Choice", "Exported", "Exporter", "File", "Outgoing", "Report"]
