"""What a worker tells its trainer, and what it keeps from it."""

from training import process


def test_only_a_run_that_samples_on_our_model_server_knows_its_secret(settings):
    settings.MODELSERVER_URLS = ["http://gpu:8100", "unix:///run/modelserver.sock"]
    settings.MODELSERVER_SECRET = "canary-modelserver"
    given = {
        endpoint: process.trainer_environment({"rollout_endpoint": endpoint})
        for endpoint in ("", "http://gpu:8100/", "http://elsewhere:8100")
    }

    without = process.trainer_environment({"threads": 2})

    assert without["OMP_NUM_THREADS"] == "2"
    assert without["LABELAPP_VAR"] == str(settings.VAR)
    assert "MODELSERVER_SECRET" not in without
    assert {url: found.get("MODELSERVER_SECRET") for url, found in given.items()} == {
        "": None, "http://gpu:8100/": "canary-modelserver", "http://elsewhere:8100": None,
    }  # fmt: skip
