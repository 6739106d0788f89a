"""Answers that are kept: nothing older follows what was seen, and there is an end to them."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from fastapi import Request
from pydantic import BaseModel

from app.api.rendered import KEPT_OF_A_RENTAL, RenderedAnswers
from app.events.notifications import Notifications

TENANT, RENTAL = uuid4(), uuid4()


class Told(BaseModel):
    """Something that is answered."""

    text: str


class Reader:
    """Reads of a rental whose present state is `text`; counts how often it is rendered."""

    def __init__(self) -> None:
        notifications = Notifications("postgresql://nowhere")  # which has announced nothing
        notifications.listening = True
        self.answers = RenderedAnswers(notifications)
        self.text, self.rendered = "one", 0

    async def read(self, asked: str, rental_id: UUID = RENTAL) -> str:
        async def render() -> Told:
            self.rendered += 1
            return Told(text=self.text)

        request = Request({"type": "http", "headers": []})
        answer = await self.answers.answer(request, TENANT, rental_id, asked, render, resource=None)
        return Told.model_validate_json(bytes(answer.body)).text


def test_no_answer_is_older_than_one_before_it() -> None:
    async def scenario() -> None:
        reader = Reader()
        await reader.read("a")
        reader.text = "two"  # and its announcement is still on its way
        assert await reader.read("b") == "two"
        assert await reader.read("a") == "two"

    asyncio.run(scenario())


def test_answers_to_several_questions_are_kept_side_by_side() -> None:
    async def scenario() -> None:
        reader = Reader()
        for _ in range(10):
            await reader.read("a")
            await reader.read("b")
        assert reader.rendered == 3  # the first time each, and the one that the other one put in doubt

    asyncio.run(scenario())


def test_a_rental_has_only_so_many_answers() -> None:
    async def scenario() -> None:
        reader = Reader()
        for n in range(10 * KEPT_OF_A_RENTAL):
            await reader.read(f"from {n}")
        assert len(reader.answers._kept[RENTAL]) == KEPT_OF_A_RENTAL

    asyncio.run(scenario())
