"""What a completion says: `parse_response(text, question) -> Response`."""

from anomalyr1.parsing.faults import FAULTS
from anomalyr1.parsing.response import Gate, parse_response

__all__ = ["FAULTS", "Gate", "parse_response"]
