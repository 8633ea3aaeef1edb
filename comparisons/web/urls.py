"""Addresses of the crowdworkers' side and of the account pages."""

from django.urls import path

from comparisons.web import account_views, crowd_views

urlpatterns = [
    path("", crowd_views.home, name="home"),
    path("sign-in/", account_views.sign_in, name="sign_in"),
    path("sign-in/link/<str:token>/", account_views.sign_in_link, name="sign_in_link"),
    path("sign-out/", account_views.sign_out, name="sign_out"),
    path("preferences/", account_views.preferences_view, name="preferences"),
    path("keys/", account_views.keys, name="keys"),
    path("me/", crowd_views.my_work, name="my_work"),
    path("me/wellbeing/", crowd_views.wellbeing, name="wellbeing"),
    path("work/<slug:slug>/", crowd_views.campaign_home, name="campaign_home"),
]
