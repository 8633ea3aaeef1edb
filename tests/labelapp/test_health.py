"""What machines are told while Redis hangs, and how soon."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db(transaction=True)


def asked(_number: int) -> tuple[int, bool]:
    try:
        answer = Client().get(reverse("statusz"))
        return answer.status_code, answer.json()["redis"]
    finally:
        connections.close_all()


def test_a_hung_redis_does_not_keep_those_who_ask_how_things_stand(redis_url, private_redis):
    assert asked(0) == (200, True)
    began = time.monotonic()

    with private_redis.hung(), ThreadPoolExecutor(4) as pool:
        told = list(pool.map(asked, range(20)))

    assert set(told) == {(200, False)}
    assert time.monotonic() - began < 3  # twenty of them, one after the other, in four threads
