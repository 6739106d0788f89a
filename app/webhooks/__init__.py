"""Webhooks: endpoints that are told of events, signed, in order, until they have them."""
