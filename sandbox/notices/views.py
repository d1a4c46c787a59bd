from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from lifespan_app import lifespan
from lifespan_app.errors import LifespanError

from .board import NoticeBoard, NoticeServiceError
from .lifespan import notice_board

SECONDS_BETWEEN_QUESTIONS = 5


async def notices(request: HttpRequest) -> HttpResponse:
    """Show the notices, or the reason for their absence."""
    found: dict[str, object]
    try:
        found = {"notices": await notice_board(request).notices()}
    except (LifespanError, NoticeServiceError) as error:
        found = {"error": error}
    return render(request, "notices/notices.html", {**found, "url": settings.NOTICES_URL})


async def events(request: HttpRequest) -> HttpResponseBase:
    """Stream new notices until the client disconnects or the process stops."""
    try:
        board = notice_board(request)
    except LifespanError as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain; charset=utf-8")
    return StreamingHttpResponse(
        lifespan.until_stopping(news(board)), content_type="text/event-stream"
    )


async def news(board: NoticeBoard) -> AsyncIterator[str]:
    """Yield new notices, without an end."""
    before: list[str] = []
    while True:
        try:
            now = await board.notices()
        except NoticeServiceError:
            now = before
        for notice in now:
            if notice not in before:
                yield f"data: {notice}\n\n"
        before = now
        await asyncio.sleep(SECONDS_BETWEEN_QUESTIONS)
