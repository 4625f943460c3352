"""Model files: read, quantize tensor by tensor, report, decode."""

from evenbits.models.plan import Budget, parse_budget
from evenbits.models.quantize import decode_model, default_output, inspect_model, quantize_model
from evenbits.models.read import Model, open_model
from evenbits.models.report import Report, Row

__all__ = [
    "Budget",
    "Model",
    "Report",
    "Row",
    "decode_model",
    "default_output",
    "inspect_model",
    "open_model",
    "parse_budget",
    "quantize_model",
]
