"""The REST API: who gets in, what it lists, exports asked for and fetched in pieces."""

import io
import zipfile
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import ApiToken, AuditEntry, ReleaseExport
from comparisons.services.accounts import make_api_token
from comparisons.services.exporting import make_export
from comparisons.services.releasing import cut_release
from modelserving.models import SlotDeployment
from tests.comparisons.making import (
    PASSWORD,
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_deployment,
)

pytestmark = pytest.mark.django_db

LISTS = ["api_releases", "api_checkpoints", "api_deployments", "api_slots"]


@pytest.fixture
def release():
    make_comparison(make_conversation())
    return cut_release("r-1", test_percent=0)


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def client_of(scope: str = "read", role: str = "researcher") -> tuple[Client, dict[str, str]]:
    return Client(), bearer(make_api_token(make_account(role), name="t", scope=scope))


@pytest.mark.parametrize("name", [*LISTS, "api_schema"])
def test_researchers_read_lists_and_others_do_not(name):
    address = reverse(name)
    anonymous = Client().get(address)
    crowdworker, its_token = client_of(role="crowdworker")
    researcher, token = client_of()
    administrator, admin_token = client_of(role="administrator")

    assert anonymous.status_code == 401
    assert anonymous["WWW-Authenticate"] == "Bearer"
    assert crowdworker.get(address, **its_token).status_code == 403
    assert researcher.get(address, **token).status_code == 200
    assert administrator.get(address, **admin_token).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"revoked_at": now()},
        {"expires_at": now() - timedelta(seconds=1)},
        {"token_sha256": "0" * 64},
    ],
    ids=str,
)
def test_a_token_that_is_not_valid_is_refused(change):
    client, token = client_of()
    ApiToken.objects.update(**change)

    assert client.get(reverse("api_releases"), **token).status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer " + "x" * 300, "Bearer é"])
def test_odd_headers_are_refused_without_an_error(header):
    assert Client().get(reverse("api_releases"), HTTP_AUTHORIZATION=header).status_code == 401


def test_a_token_is_read_from_the_header_only_and_its_use_is_noted():
    client, token = client_of()
    secret = token["HTTP_AUTHORIZATION"].split()[1]

    assert client.get(reverse("api_releases"), {"token": secret}).status_code == 401
    assert client.get(reverse("api_releases"), **token).status_code == 200
    assert ApiToken.objects.get().last_used_at is not None
    assert not ApiToken.objects.filter(token_sha256=secret).exists()


def test_a_browser_session_reads_and_needs_its_csrf_token_to_write(release):
    account = make_account("researcher")
    client = Client(enforce_csrf_checks=True)
    assert client.login(username=account.username, password=PASSWORD)
    address = reverse("api_exports", args=["r-1"])

    assert client.get(reverse("api_releases")).status_code == 200
    refused = client.post(address, {"format": "hh"}, content_type="application/json")

    assert refused.status_code == 403
    assert not ReleaseExport.objects.exists()


def test_lists_say_what_there_is(release):
    deployment = make_deployment("ppo-1")
    campaign = make_campaign()
    SlotDeployment.objects.create(
        slot=campaign.slot, deployment=deployment, role="serving", traffic=100
    )
    client, token = client_of()

    releases = client.get(reverse("api_releases"), **token).json()["results"]
    deployments = client.get(reverse("api_deployments"), **token).json()["results"]
    checkpoints = client.get(reverse("api_checkpoints"), **token).json()["results"]
    slots = client.get(reverse("api_slots"), **token).json()["results"]
    one = client.get(reverse("api_release", args=["r-1"]), **token).json()

    assert [each["name"] for each in releases] == ["r-1"]
    assert (one["state"], one["counts"]["train"]) == ("frozen", 1)
    assert one["manifest_sha256"] == release.manifest_sha256
    assert [(d["name"], d["checkpoint"]) for d in deployments] == [
        ("ppo-1", deployment.checkpoint.hash)
    ]
    assert [c["hash"] for c in checkpoints] == [deployment.checkpoint.hash]
    places = next(slot["places"] for slot in slots if slot["name"] == campaign.slot.name)
    assert [(p["deployment"], p["role"], p["traffic"]) for p in places] == [
        ("ppo-1", "serving", 100)
    ]
    assert client.get(reverse("api_release", args=["r-2"]), **token).status_code == 404


def test_lists_page_by_cursor_newest_first():
    for i in range(5):
        make_deployment(f"d{i}")
    client, token = client_of()

    first = client.get(reverse("api_deployments"), {"page_size": 3}, **token).json()
    second = client.get(first["next"], **token).json()

    names = [d["name"] for d in first["results"] + second["results"]]
    assert names == ["d4", "d3", "d2", "d1", "d0"]


def test_an_export_is_asked_for_made_and_fetched_in_pieces(
    release, django_capture_on_commit_callbacks
):
    reading, read_token = client_of("read")
    client, token = client_of("run")
    address = reverse("api_exports", args=["r-1"])
    body = {"format": "hh"}

    refused = reading.post(address, body, content_type="application/json", **read_token)
    asked = client.post(address, body, content_type="application/json", **token)
    again = client.post(address, body, content_type="application/json", **token)

    assert refused.status_code == 403
    assert (asked.status_code, asked.json()["state"]) == (202, "queued")
    assert again.status_code == 202
    export = make_export(ReleaseExport.objects.get())
    link = client.get(address, **token).json()["results"][0]["download"]
    whole = b"".join(client.get(link, **token).streaming_content)
    part = client.get(link, HTTP_RANGE="bytes=10-", HTTP_IF_RANGE=f'"{export.sha256}"', **token)
    assert part.status_code == 206
    assert b"".join(part.streaming_content) == whole[10:]
    assert part["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"
    assert zipfile.ZipFile(io.BytesIO(whole)).namelist() == ["train.jsonl.gz"]  # no row to test on
    changed = client.get(link, HTTP_RANGE="bytes=10-", HTTP_IF_RANGE='"old"', **token)
    assert changed.status_code == 200
    assert b"".join(changed.streaming_content) == whole
    assert client.get(link, HTTP_RANGE="bytes=999999-", **token).status_code == 416
    tail = client.get(link, HTTP_RANGE="bytes=-4", **token)
    assert b"".join(tail.streaming_content) == whole[-4:]
    assert AuditEntry.objects.filter(action="export.download").count() >= 4
    assert reading.get(link, **read_token).status_code == 200
    assert client_of(role="crowdworker")[0].get(link).status_code == 401


def test_a_stale_release_hands_out_no_export(release):
    client, token = client_of("run")
    make_export(ReleaseExport.objects.create(release=release, format="hh"))
    release.stale_at = now()
    release.save(update_fields=["stale_at"])

    link = reverse("api_export_download", args=["r-1", "hh"])
    assert client.get(link, **token).status_code == 409
    refused = client.post(
        reverse("api_exports", args=["r-1"]), {"format": "trl"},
        content_type="application/json", **token,
    )  # fmt: skip
    assert refused.status_code == 409
    assert "taken out" in refused.json()["detail"]


@pytest.mark.parametrize("body", ["{", "[]", '{"format":"xml"}', '{"format":1}', "null"])
def test_a_wrong_body_is_a_400(release, body):
    client, token = client_of("run")

    answer = client.post(
        reverse("api_exports", args=["r-1"]), body, content_type="application/json", **token
    )

    assert answer.status_code == 400


def test_the_leaderboard_is_there_for_both_objectives_only():
    one, two = make_deployment("one"), make_deployment("two")
    make_comparison(make_conversation(), picked_by=two, other_by=one)
    client, token = client_of()

    board = client.get(reverse("api_leaderboard", args=["helpful"]), **token).json()

    assert [s["deployment"] for s in board["standings"]] == ["two", "one"]
    assert (board["anchor"], board["choices"]) == ("one", 1)
    assert client.get(reverse("api_leaderboard", args=["honest"]), **token).status_code == 404


def test_the_description_names_every_operation():
    client, token = client_of()

    schema = client.get(reverse("api_schema"), **token).json()

    assert schema["paths"]["/api/v1/releases/"]["get"]
    assert schema["paths"]["/api/v1/releases/{name}/exports/"]["post"]
    assert schema["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
