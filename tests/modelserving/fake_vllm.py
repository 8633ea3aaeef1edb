"""A stand-in that speaks vLLM's routes: chat, models, health, and LoRA adapters while it runs.

Statuses, bodies and error shapes are those of vLLM's OpenAI-compatible server; it has no model.
"""

from typing import Any

from tests.fake_http import Exchange, lifespan

BASE = "base-model"


class FakeVllm:
    """One server with a base model and adapters."""

    def __init__(self, *, adapters_exist: set[str], may_update: bool = True, key: str = "") -> None:
        self.adapters_exist, self.may_update, self.key = adapters_exist, may_update, key
        self.adapters: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        exchange, path = Exchange(scope, receive, send), scope["path"]
        if path == "/health":
            await exchange.start("text/plain")
            await exchange.chunk(b"", more=False)
        elif self.key and exchange.header("authorization") != f"Bearer {self.key}":
            await exchange.reply({"error": "Unauthorized"}, status=401)
        elif path == "/v1/models":
            ids = [BASE, *self.adapters]
            await exchange.reply(
                {"object": "list", "data": [{"id": i, "object": "model"} for i in ids]}
            )
        elif path == "/v1/chat/completions":
            await self._chat(await exchange.json(), exchange)
        elif self.may_update and path == "/v1/load_lora_adapter":
            await self._load(await exchange.json(), exchange)
        elif self.may_update and path == "/v1/unload_lora_adapter":
            await self._unload(await exchange.json(), exchange)
        else:
            await exchange.reply({"detail": "Not Found"}, status=404)

    async def _load(self, content: dict[str, Any], exchange: Exchange) -> None:
        name, path = content["lora_name"], content["lora_path"]
        if name in self.adapters:
            text = f"The lora adapter '{name}' has already been loaded."
            await _error(exchange, 400, "InvalidUserInput", text)
        elif path not in self.adapters_exist:
            text = f"Loading lora {name} failed: No adapter found for {path}"
            await _error(exchange, 404, "NotFoundError", text)
        else:
            self.adapters[name] = path
            await _text(exchange, f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, content: dict[str, Any], exchange: Exchange) -> None:
        name = content["lora_name"]
        if self.adapters.pop(name, None) is None:
            text = f"The lora adapter '{name}' cannot be found."
            await _error(exchange, 404, "NotFoundError", text)
        else:
            await _text(exchange, f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, content: dict[str, Any], exchange: Exchange) -> None:
        self.requests.append(content)
        name = content["model"]
        if name not in {BASE, *self.adapters}:
            text = f"The model `{name}` does not exist."
            await _error(exchange, 404, "NotFoundError", text)
            return
        await exchange.start("text/event-stream; charset=utf-8")
        for text in ("", "from", f" {name}"):
            delta = {"content": text} if text else {"role": "assistant", "content": ""}
            await exchange.event(_chunk(name, delta=delta, finish=None))
        await exchange.event(_chunk(name, delta={"content": ""}, finish="stop"))
        await exchange.chunk(b"data: [DONE]\n\n", more=False)


def _chunk(name: str, *, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish,
              "stop_reason": None}  # fmt: skip
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": name,
            "choices": [choice]}  # fmt: skip


async def _error(exchange: Exchange, status: int, kind: str, message: str) -> None:
    error = {"message": message, "type": kind, "param": None, "code": status}
    await exchange.reply({"error": error}, status=status)


async def _text(exchange: Exchange, text: str) -> None:
    await exchange.start("text/plain; charset=utf-8")
    await exchange.chunk(text.encode(), more=False)
