"""Have a vLLM server take LoRA adapters up and drop them while it serves.

Knows vLLM's two routes for it; knows neither deployments nor checkpoints of ours.
"""

import httpx

from modelserving.client.endpoints import Endpoint
from modelserving.client.errors import Refused, Unreachable, error_of

LOAD_SECONDS = 300.0  # the adapter is read and copied to the device before it answers
HOW_TO_ALLOW = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"


def load_adapter(endpoint: Endpoint, *, name: str, path: str) -> None:
    """Have the adapter directory `path`, as the vLLM host sees it, answer under `name`. Twice is harmless."""
    refusal = _post(endpoint, "load_lora_adapter", {"lora_name": name, "lora_path": path})
    if refusal is not None and "already been loaded" not in str(refusal):
        raise refusal


def unload_adapter(endpoint: Endpoint, *, name: str) -> None:
    """Have the adapter dropped. Twice is harmless."""
    refusal = _post(endpoint, "unload_lora_adapter", {"lora_name": name})
    if refusal is not None and "cannot be found" not in str(refusal):
        raise refusal


def _post(endpoint: Endpoint, route: str, content: dict[str, str]) -> Exception | None:
    """Ask; what a server of this kind refuses is returned."""
    try:
        response = endpoint.http.post(f"/{route}", json=content, timeout=LOAD_SECONDS)
    except httpx.HTTPError as failed:
        raise Unreachable(f"{endpoint.url}: {type(failed).__name__}: {failed}") from failed
    if response.status_code == httpx.codes.OK:
        return None
    refusal = error_of(response)
    if str(refusal).endswith("Not Found") or response.status_code == httpx.codes.METHOD_NOT_ALLOWED:
        raise Refused(f"{endpoint.url} takes no adapters while it runs: {HOW_TO_ALLOW}")
    return refusal
