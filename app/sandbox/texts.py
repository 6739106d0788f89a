"""Plausible messages: sender and text as the services write them."""

from __future__ import annotations

import random

_SAMPLES = {
    "opt1": ("Google", "G-{code} is your Google verification code."),
    "opt2": ("Facebook", "{code} is your Facebook confirmation code"),
    "opt6": ("Fiverr", "Your Fiverr verification code is {code}"),
    "opt16": ("Instagram", "{short} {rest} is your Instagram code. Don't share it."),
    "opt20": ("WhatsApp", "Your WhatsApp code: {short}-{rest}\nDon't share this code with others"),
    "opt29": ("Telegram", "Telegram code: {code}"),
    "opt44": ("Amazon", "{code} is your Amazon OTP. Do not share it with anyone."),
    "opt45": ("Discord", "Your Discord verification code is: {code}"),
    "opt46": ("Airbnb", "Your Airbnb verification code is: {code}."),
    "opt59": ("Avito", "{code} - Avito"),
    "opt83": ("PayPal", "PayPal: {code} is your security code. Don't share your code."),
}


def sample(service: str, chance: random.Random) -> tuple[str, str]:
    """A sender and a text for a service."""
    sender, text = _SAMPLES.get(service, ("Verify", "Your verification code is {code}"))
    code = f"{chance.randrange(1_000_000):06d}"
    return sender, text.format(code=code, short=code[:3], rest=code[3:])
