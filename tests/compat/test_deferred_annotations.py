"""A receiver whose annotations Python 3.14 reads when they are asked for (PEP 649).

This module leaves out ``from __future__ import annotations`` on purpose.
"""

import sys
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.signals import asgi_startup
from tests.scopes import started

if TYPE_CHECKING:
    from asgiref.typing import LifespanScope


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="before Python 3.14 a name that is missing ends the module"
)
@pytest.mark.usefixtures("lifespan")
@pytest.mark.parametrize("with_anything", [True, False])
async def test_receiver_may_name_a_type_imported_for_type_checkers(with_anything: bool) -> None:
    received: list[Any] = []

    def receiver(scope: LifespanScope) -> None:
        received.append(scope["type"])

    def receiver_of_anything(scope: LifespanScope, **kwargs: Any) -> None:
        received.append(scope["type"])

    connected: Any = receiver_of_anything if with_anything else receiver
    asgi_startup.connect(connected)
    async with started(LifespanASGIHandler()):
        assert received == ["lifespan"]
