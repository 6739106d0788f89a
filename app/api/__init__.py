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
    platform_keys,
    problem_pages,
    rental_changes,
    rentals,
    tenants,
    upstream_upserts,
    vault,
    webhook_events,
    webhooks,
)

ROUTERS: tuple[APIRouter, ...] = (
    catalog.router,
    rentals.router,
    rental_changes.router,
    messages.router,
    events.router,
    webhooks.router,
    operations.router,
    tenants.router,
    platform_keys.router,
    api_keys.router,
    vault.router,
    upstream_upserts.router,
    audit.router,
    me.router,
    health.router,
    problem_pages.router,
)

WEBHOOK_EVENTS: APIRouter = webhook_events.router
"""Not served: what the gateway itself sends."""
