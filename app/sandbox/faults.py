"""Faults that the sandbox plays on request: for the next calls of a method, before or after they act."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST_MIB = 4096


class FaultKind(StrEnum):
    """What goes wrong.

    hang: no answer for `seconds`. drop: the connection ends in the middle of the answer. status_500: that
    status. status_429: that status, with `seconds` as its Retry-After. html: a page with status 200. echo: a
    page that repeats the whole request, key and all. proxy_403: a proxy's page. cut_json: JSON that ends too
    early. empty: nothing. body: `body` as it is given, under `status` and `content_type`. compressed: the
    answer, packed `layers` times whatever the caller accepts, and swelling to `mebibytes`. rate_limit and
    refuse: `status: 0` with the upstream's words, or `message`. late: the call acts only after `seconds`,
    whether its caller still waits or not. charged_not_made: the call is charged, makes nothing, and is
    answered as `answered` says.
    """

    HANG = "hang"
    DROP = "drop"
    STATUS_500 = "status_500"
    STATUS_429 = "status_429"
    HTML = "html"
    ECHO = "echo"
    PROXY_403 = "proxy_403"
    CUT_JSON = "cut_json"
    EMPTY = "empty"
    BODY = "body"
    COMPRESSED = "compressed"
    RATE_LIMIT = "rate_limit"
    REFUSE = "refuse"
    LATE = "late"
    CHARGED_NOT_MADE = "charged_not_made"


class Fault(BaseModel):
    """A fault for the next `times` calls of `method` (`*` for any), of one account or of any.

    `method` is `balance` or `userinfo` for the calls beside rent.php. `account` is the end of its key, such
    as the last four characters.
    """

    model_config = ConfigDict(extra="forbid")

    method: str = "*"
    account: str | None = None
    kind: FaultKind
    when: Literal["before", "after"] = "before"
    times: int = Field(default=1, ge=1)
    seconds: float = Field(default=3600.0, ge=0, le=3600)
    message: str = "Something went wrong"
    body: str = ""
    status: int = Field(default=200, ge=200, le=599)
    content_type: str = "application/json"
    layers: int = Field(default=1, ge=1, le=5)
    mebibytes: int = Field(default=0, ge=0, le=LARGEST_MIB)
    answered: FaultKind = FaultKind.REFUSE


class Faults:
    """The faults that are waiting for their calls, first come, first played."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def take(self, method: str, api_key: str) -> Fault | None:
        """The fault of this call, used up once."""
        for fault in self.waiting:
            if fault.method in ("*", method) and (not fault.account or api_key.endswith(fault.account)):
                fault.times -= 1
                if not fault.times:
                    self.waiting.remove(fault)
                return fault
        return None
