from __future__ import annotations

import httpx


class NoticeServiceError(Exception):
    """The notice service returned no notices."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No notice service at {url} ({reason}). Set NOTICES_URL to a text file that a server "
            "serves, one notice a line."
        )


class NoticeBoard:
    """Notices to readers, read from a notice service."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def notices(self) -> list[str]:
        """Return the current notices. Raise NoticeServiceError if there is no response."""
        try:
            response = await self._client.get(self._url)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise NoticeServiceError(self._url, str(error) or type(error).__name__) from None
        return [line.strip() for line in response.text.splitlines() if line.strip()]
