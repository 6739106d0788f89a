"""What the gateway is measured beside: a bare FastAPI route, and a plain pass-through to the upstream."""

from __future__ import annotations

import os
from typing import Any

import httpx
from fastapi import FastAPI

from app.api.examples import EXAMPLES
from app.rentals.schemas import Rental

app = FastAPI()
upstream = httpx.AsyncClient()


@app.get("/bare")
async def bare() -> Rental:
    """A rental, out of thin air."""
    return Rental.model_validate(EXAMPLES["Rental"])


@app.get("/through")
async def through() -> Any:
    """What a gateway without a store does: ask the upstream for each request."""
    parameters = {"method": "orders", "apikey": os.environ["UPSTREAM_KEY"]}
    return (await upstream.get(os.environ["UPSTREAM_URL"], params=parameters)).json()
