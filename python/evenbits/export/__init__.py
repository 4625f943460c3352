"""Models in other formats."""

from evenbits.export.c import export_c

__all__ = ["export_c"]
