"""Addresses that MTurk may frame: the crowd's own pages below /mturk/, nothing of staff.

Signing in by name is not among them, nor a password: whoever lost the session opens the HIT again.
"""

from django.urls import include, path

from comparisons.web import account_views, arrival_platform_views, urls

handler404 = "comparisons.web.error_views.not_found"
handler500 = "comparisons.web.error_views.server_error"

NOT_FRAMED = {
    "sign_in",
    "sign_in_link",
    "sign_out",
    "password",
    "confirm",
    "join",
    "join_by_code",
    "arrive",
    "prolific_hook",
}
CROWD = [each for each in urls.urlpatterns if each.name not in NOT_FRAMED]
FRAMED = [
    *CROWD,
    path("arrive/<uuid:public_id>/", arrival_platform_views.arrive, name="arrive"),
    path("lost/", arrival_platform_views.lost, name="sign_in"),
    path("sign-out/", account_views.sign_out, name="sign_out"),
]
urlpatterns = [path("mturk/", include(FRAMED))]
