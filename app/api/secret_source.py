"""An upstream key's secret as requests give it: itself, or a reference to where it is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from app.api.context import Context
from app.api.fields import RequestBody
from app.errors import FieldError, InvalidRequest
from app.upstream_accounts.service import Secret
from app.vault.references import LONGEST

SecretText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,256}$")]
ReferenceText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=LONGEST)]


class SecretSource(RequestBody):
    """A body that gives exactly one of the secret and a reference to it."""

    api_key: Annotated[SecretText | None, Field(description="Write-only: no answer ever holds it.")] = None
    reference: Annotated[
        ReferenceText | None,
        Field(
            description="Instead of `api_key`, where it is kept: `vault:<path>#<field>`, `aws-sm:<name or"
            " ARN>[#<field>]` or `env:<VARIABLE>`, under one of the tenant's `reference_prefixes`. It is read"
            " when it is needed.",
            examples=["vault:kv/data/acme/smspva#api_key"],
        ),
    ] = None


async def secret_of(context: Context, body: SecretSource, where: str = "body") -> Secret:
    """The secret that a body gives, ready to be stored.

    Args:
        where: the body's place in the request, for what is wrong with it.

    Raises:
        InvalidRequest: it gives none or both.
        RentgateError: as `UpstreamAccounts.secret`.
    """
    if (body.api_key is None) == (body.reference is None):
        wrong = "api_key" if body.api_key is None else "reference"
        message = "Exactly one of api_key and reference has to be given."
        raise InvalidRequest(fields=(FieldError(f"{where}.{wrong}", message),))
    accounts = context.services.upstream_accounts
    return await accounts.secret(context.tenant_id, body.api_key, reference=body.reference, where=where)
