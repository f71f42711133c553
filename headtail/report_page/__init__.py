"""The report as one HTML page: no script, no request, light and dark, for a screen or on paper.

`contents` gathers what is known into one JSON object, `to_html` shows it. Both are deterministic.
"""

from __future__ import annotations

from headtail.report_page.contents import Contents, contents
from headtail.report_page.layout import to_html

__all__ = ["Contents", "contents", "to_html"]
