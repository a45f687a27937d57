"""JSON over HTTP with retries, for the embedding services."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from codebase_index.embedding.protocol import (
    EmbeddingError,
    EmbeddingRefused,
    EmbeddingUnavailable,
    ServiceAway,
    ServiceBusy,
    ServiceMisconfigured,
)

CONNECT_SECONDS = 5.0

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 30.0
"""Also the upper bound of a service's Retry-After; the job is 'blocked' meanwhile."""

_TOO_BUSY = (408, 425, 429)

_MISCONFIGURED = {
    401: "does not accept the key, or wants one", 403: "does not allow the use of this model",
    404: "does not have the model",
}  # fmt: skip

# What services say about a text that is longer than the model reads: Ollama, OpenAI, vLLM, TEI, llama.cpp.
_TOO_LONG = (
    "context length", "input length exceeds", "too many tokens", "must have less than", "input is too large",
    "longest input", "maximum input length",
)  # fmt: skip
# And about a request with too many texts, whatever the length of each.
_TOO_MANY = (
    "batch size", "too many inputs", "array too long", "tokens per request", "max_tokens_per_request",
    "request body too large", "payload too large", "entity too large",
)  # fmt: skip


@dataclass(frozen=True)
class RetryBudget:
    """The attempts of a request, the timeout of each in seconds, and the deadline of all.

    The deadline `until` is a time of the monotonic clock, so that several requests can share it.
    """

    attempts: int
    seconds: float
    until: float = math.inf

    def within(self, seconds: float) -> "RetryBudget":
        """Return this budget with its deadline this many seconds from now."""
        return replace(self, until=time.monotonic() + seconds)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.until - time.monotonic())


class TooLarge(Exception):
    """A request exceeds the service's limit; smaller ones may succeed. `text`: because of one long text."""

    def __init__(self, reason: str, *, text: bool) -> None:
        super().__init__(reason)
        self.text = text


class JsonService:
    """An HTTP service that answers JSON; temporary failures are retried. Thread-safe."""

    def __init__(
        self,
        name: str,
        url: str,
        advice: str,
        *,
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take the base URL, the advice that ends every error message, and the bearer's key. Nothing is sent yet.

        Raises EmbeddingRefused when the URL is not an http or https address, or holds a password.
        """
        self._advice = advice
        self._key = key
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise EmbeddingRefused(f"{name} cannot be reached: its URL is not an http(s) address; {advice}")
        if address.userinfo:  # HTTP clients log addresses
            raise EmbeddingRefused(f"{name} is not used: its URL contains a user or a password; {advice}")
        self._shown = f"{name} at {address.scheme}://{address.netloc.decode()}"
        headers = {"Authorization": f"Bearer {key}"} if key else None
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers)
        self._sleep = sleep
        self._jitter = jitter

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def post(self, path: str, body: dict[str, Any], budget: RetryBudget) -> dict[str, Any]:
        """Post the body and return the JSON object of the answer.

        Tries up to `budget.attempts` times when the service is away, busy (408, 425, 429) or broken
        (5xx), with exponential backoff and full jitter, but not earlier than its
        Retry-After, and as long as there is time. Raises EmbeddingUnavailable after that, of the kind that fits:
        ServiceAway or ServiceBusy; at once TooLarge, and EmbeddingRefused for an answer that will be the same next
        time.
        """
        for attempt in range(1, budget.attempts + 1):
            if not budget.seconds_left:
                raise self.unavailable("answered, and there is no time left to ask it further")
            response: httpx.Response | None = None
            try:
                response = self._exchange(path, body, budget)
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if response.status_code == httpx.codes.OK:
                    return self._decode(response)
                reason = f"HTTP {response.status_code}: {self._excerpt(response)}"
                if (final := self._final(response, reason)) is not None:
                    raise final
            delay = self._delay(attempt, response)
            if attempt == budget.attempts or delay >= budget.seconds_left:
                break
            self._sleep(delay)
        raise self._given_up(response, f"did not answer in {attempt} attempts ({reason})")

    def _exchange(self, path: str, body: dict[str, Any], budget: RetryBudget) -> httpx.Response:
        """Post the body; return the answer, read to its end. Raises httpx.HTTPError."""
        seconds = min(budget.seconds, budget.seconds_left)
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        with self._client.stream("POST", path, json=body, timeout=timeout) as response:
            content = bytearray()
            for part in response.iter_bytes():  # httpx bounds the wait for each part, not for all of them
                content += part
                if not budget.seconds_left:
                    raise httpx.ReadTimeout("the answer did not arrive as a whole in time")
            plain = {name: value for name, value in response.headers.items() if name != "content-encoding"}
            return httpx.Response(response.status_code, headers=plain, content=bytes(content))

    def _given_up(self, response: httpx.Response | None, what: str) -> EmbeddingUnavailable:
        """Return the error of a service that was tried in vain; `response` is its last answer, if any."""
        if response is None or response.status_code >= 500:
            return ServiceAway(self._told(what))
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            retry_after = min(max(_retry_after(response), 0.0), MAX_DELAY_SECONDS)
            return ServiceBusy(self._told(f"has too many requests ({what})"), retry_after)
        return self.unavailable(what)

    def unavailable(self, what: str) -> EmbeddingUnavailable:
        """Return the error that says which service, what happened, and what to do."""
        return EmbeddingUnavailable(self._told(what))

    def refused(self, what: str) -> EmbeddingRefused:
        """Return the error for what will be the same next time."""
        return EmbeddingRefused(self._told(what))

    def _told(self, what: str) -> str:
        return f"{self._shown} {what}; {self._advice}"

    def _final(self, response: httpx.Response, reason: str) -> EmbeddingError | TooLarge | None:
        """Return the error of an answer that would be the same again; None: it is worth another try."""
        text = response.text[:2000].lower()
        status = response.status_code
        if status != httpx.codes.UNAUTHORIZED and any(words in text for words in _TOO_LONG):
            return TooLarge(reason, text=True)  # whatever the status: llama.cpp says 500
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE or (
            status < 500 and any(words in text for words in _TOO_MANY)
        ):
            return TooLarge(reason, text=False)
        if status in _TOO_BUSY or status >= 500:
            return None
        if status == httpx.codes.NOT_FOUND and "model" not in text:
            # A proxy in front of a service that is just being replaced answers so too.
            return self.unavailable(f"does not know the address ({reason})")
        if status in _MISCONFIGURED:
            return ServiceMisconfigured(self._told(f"{_MISCONFIGURED[status]} ({reason})"))
        return self.refused(f"refused the request ({reason})")

    def _decode(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self.unavailable("answered with something that is not a JSON object")
        return answer

    def _delay(self, attempt: int, response: httpx.Response | None) -> float:
        """Seconds to wait: full jitter (Brooker, "Exponential Backoff And Jitter", AWS, 2015)."""
        backoff = FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1) * self._jitter()
        retry_after = _retry_after(response) if response is not None else 0.0
        return min(max(backoff, retry_after), MAX_DELAY_SECONDS)

    def _excerpt(self, response: httpx.Response) -> str:
        """Return the beginning of an error body on one line, without the key, which some services repeat."""
        text = response.text[:300]
        if self._key:
            text = text.replace(self._key, "(key)")
        return " ".join(text.split()) or "no explanation"


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the service asks for, in either form of RFC 9110, section 10.2.3; 0 when it does not."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0
