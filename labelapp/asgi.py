"""The ASGI application that uvicorn serves."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
django.setup(set_prefix=False)

from labelapp.pages import Application  # noqa: E402 -- Django is set up first
from labelapp.processes import end_with_parent  # noqa: E402

end_with_parent()
application = Application()
