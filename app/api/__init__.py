"""Requests come in here: routes, authentication, problems, and the OpenAPI document."""

from __future__ import annotations

from fastapi import APIRouter

from app.api import (
    api_keys,
    audit,
    catalog,
    events,
    health,
    me,
    messages,
    operations,
    problem_pages,
    rentals,
    tenants,
    vault,
)

ROUTERS: tuple[APIRouter, ...] = (
    catalog.router,
    rentals.router,
    messages.router,
    events.router,
    operations.router,
    tenants.router,
    api_keys.router,
    vault.router,
    audit.router,
    me.router,
    health.router,
    problem_pages.router,
)
