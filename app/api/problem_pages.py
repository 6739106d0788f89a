"""The pages behind the errors' `type`: what happened, why, and what to do; made from the error tree."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.api.fields import FilterText
from app.api.problems import problem_path
from app.api.responses import answers
from app.errors import NotFound, RentgateError, catalogue, explain

router = APIRouter()

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} · rentgate</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}
code {{ background: #eef1f4; padding: .1em .35em; border-radius: 4px }}
h1 {{ line-height: 1.2 }}
</style>
</head><body>{body}</body></html>
"""


@router.get("/problems", include_in_schema=False)
async def list_problems() -> HTMLResponse:
    """All error codes, each with a link to its page."""
    rows = "".join(
        f'<li>{error.status} <a href="{problem_path(code)}">{code}</a>: {escape(error.title)}</li>'
        for code, error in sorted(catalogue().items(), key=lambda item: (item[1].status, item[0]))
    )
    return HTMLResponse(_PAGE.format(title="Errors", body=f"<h1>Errors</h1><ul>{rows}</ul>"))


@router.get(
    "/problems/{code}",
    response_class=HTMLResponse,
    tags=["about"],
    summary="Explain an error code",
    responses=answers(NotFound),
)
async def explain_problem(code: FilterText) -> HTMLResponse:
    """What an error means and what to do about it; the page that a problem's `type` points to."""
    error = catalogue().get(code.replace("-", "_"))
    if error is None:
        raise NotFound("No error has this code.")
    return HTMLResponse(_PAGE.format(title=escape(error.title), body=_body(error)))


def _body(error: type[RentgateError]) -> str:
    return (
        f"<p><code>{error.status}</code> <code>{error.code}</code></p><h1>{escape(error.title)}</h1>"
        f"<h2>What happened</h2><p>{escape(explain(error))}</p>"
        f"<h2>What to do</h2><p>{escape(error.remedy)}</p>"
        '<p><a href="/problems">All errors</a></p>'
    )
