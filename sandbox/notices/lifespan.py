import httpx
from django.conf import settings

from lifespan_app import lifespan

from .board import NoticeBoard


@lifespan.resource(required=False, timeout=3)
async def notice_board(http_client: httpx.AsyncClient) -> NoticeBoard:
    """Test the notice service. Without it the process serves, degraded."""
    board = NoticeBoard(http_client, settings.NOTICES_URL)
    await board.notices()
    return board
