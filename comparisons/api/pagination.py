"""Lists of the REST API: newest first, by cursor, so that new rows never shift a page.

Knows nothing of what is listed.
"""

from rest_framework.pagination import CursorPagination


class Newest(CursorPagination):
    """Newest first; `page_size` up to 200."""

    ordering = "-pk"
    page_size_query_param = "page_size"
    max_page_size = 200
