"""Addresses of the administrators' pages, below /manage/."""

from django.urls import path

from comparisons.web import (
    manage_arrival_views,
    manage_campaign_views,
    manage_crowd_views,
    manage_pay_views,
    manage_practice_views,
    manage_preview_views,
    manage_release_views,
    manage_views,
)

urlpatterns = [
    path("", manage_views.dashboard, name="manage_dashboard"),
    path("campaigns/", manage_campaign_views.campaign_list, name="manage_campaigns"),
    path("campaigns/new/", manage_campaign_views.campaign_new, name="manage_campaign_new"),
    path("campaigns/<slug:slug>/", manage_campaign_views.campaign_detail, name="manage_campaign"),
    path("campaigns/<slug:slug>/preview/", manage_preview_views.preview, name="manage_preview"),
    path(
        "campaigns/<slug:slug>/state/",
        manage_campaign_views.campaign_state,
        name="manage_campaign_state",
    ),
    path(
        "campaigns/<slug:slug>/instructions/",
        manage_campaign_views.instructions,
        name="manage_instructions",
    ),
    path(
        "campaigns/<slug:slug>/arrivals/",
        manage_arrival_views.campaign_arrivals,
        name="manage_arrivals",
    ),
    path("arrivals/<uuid:public_id>/", manage_arrival_views.arrival, name="manage_arrival"),
    path(
        "arrivals/<uuid:public_id>/settle/",
        manage_arrival_views.arrival_settle,
        name="manage_arrival_settle",
    ),
    path(
        "arrivals/<uuid:public_id>/pay.csv",
        manage_arrival_views.arrival_pay,
        name="manage_arrival_pay",
    ),
    path("campaigns/<slug:slug>/practice/", manage_practice_views.practice, name="manage_practice"),
    path(
        "campaigns/<slug:slug>/practice/off/",
        manage_practice_views.practice_off,
        name="manage_practice_off",
    ),
    path("campaigns/<slug:slug>/pay/", manage_pay_views.pay, name="manage_pay"),
    path(
        "campaigns/<slug:slug>/pay/settle/", manage_pay_views.pay_settle, name="manage_pay_settle"
    ),
    path("campaigns/<slug:slug>/pay/pay.csv", manage_pay_views.pay_csv, name="manage_pay_csv"),
    path("crowd/", manage_crowd_views.crowd, name="manage_crowd"),
    path(
        "crowd/invitations/<int:invitation_id>/end/",
        manage_crowd_views.invitation_end,
        name="manage_invitation_end",
    ),
    path("crowd/<uuid:public_id>/", manage_crowd_views.person, name="manage_person"),
    path("crowd/<uuid:public_id>/outcome/", manage_crowd_views.outcome, name="manage_outcome"),
    path("quality/", manage_crowd_views.quality_page, name="manage_quality"),
    path("quality/flags/<int:flag_id>/", manage_crowd_views.flag_outcome, name="manage_flag"),
    path("releases/", manage_release_views.release_list, name="manage_releases"),
    path("releases/new/", manage_release_views.release_new, name="manage_release_new"),
    path(
        "releases/new/counts/",
        manage_release_views.release_live_counts,
        name="manage_release_counts",
    ),
    path("releases/r/<str:name>/", manage_release_views.release_detail, name="manage_release"),
    path("releases/r/<str:name>/exports/", manage_release_views.export_new, name="manage_export"),
    path(
        "releases/r/<str:name>/exports/<slug:export_format>/",
        manage_release_views.export_download,
        name="manage_export_download",
    ),
    path("imports/", manage_views.imports, name="manage_imports"),
    path("api/", manage_views.api, name="manage_api"),
    path(
        "api/tokens/<int:token_id>/revoke/", manage_views.revoke_token, name="manage_token_revoke"
    ),
]
