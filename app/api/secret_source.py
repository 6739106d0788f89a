"""An upstream key's secret as requests give it: itself, or a reference to where it is kept."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.api.fields import RequestBody
from app.errors import FieldError, InvalidRequest
from app.vault.references import LONGEST
from app.wiring import Services

Secret = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,256}$")]
ReferenceText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=LONGEST)]


class SecretSource(RequestBody):
    """A body that gives exactly one of the secret and a reference to it."""

    api_key: Annotated[Secret | None, Field(description="Write-only: no answer ever holds it.")] = None
    reference: Annotated[
        ReferenceText | None,
        Field(
            description="Instead of `api_key`, where it is kept: `vault:<path>#<field>`, `aws-sm:<name or"
            " ARN>[#<field>]` or `env:<VARIABLE>`, under one of the tenant's `reference_prefixes`. It is read"
            " when it is needed.",
            examples=["vault:kv/data/acme/smspva#api_key"],
        ),
    ] = None


async def secret_of(services: Services, tenant_id: UUID, body: SecretSource, where: str = "body") -> str:
    """The secret that a body gives, read at its source if it gives a reference.

    Args:
        where: the body's place in the request, for what is wrong with it.

    Raises:
        InvalidRequest: it gives none or both, or its reference is not good for this tenant.
        VaultUnavailable: the source can't be asked.
    """
    if body.api_key is not None and body.reference is None:
        return body.api_key
    if body.reference is not None and body.api_key is None:
        return await services.vault.named(tenant_id, body.reference, f"{where}.reference")
    wrong = "api_key" if body.api_key is None else "reference"
    message = "Exactly one of api_key and reference has to be given."
    raise InvalidRequest(fields=(FieldError(f"{where}.{wrong}", message),))
