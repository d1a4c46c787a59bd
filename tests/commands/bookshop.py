"""A project of thirty hooks, such as a shop has after some years: a plan that is worth to be read."""

from __future__ import annotations

from tests.projects import Project

STORAGE = """
from lifespan_app import lifespan


@lifespan.resource(-10, timeout=20, shutdown_timeout=6)
async def database_pool(context):
    yield "pool"


@lifespan.resource(-10, timeout=5)
async def redis():
    yield "redis"


@lifespan.resource(-10)
def settings_of_the_shop(database_pool):
    yield {}


@lifespan.on_start(-10)
def refuse_old_schema(database_pool): ...


@lifespan.resource(state_name="covers", required=False)
async def cover_storage(settings_of_the_shop):
    yield "covers"
"""

CATALOGUE = """
from typing import Annotated

from lifespan_app import lifespan
from storage.lifespan import redis


@lifespan.resource
async def http_client():
    yield "client"


@lifespan.resource
async def publishers(http_client, store: Annotated[str, redis]):
    yield "publishers"


@lifespan.resource
def search_index(database_pool):
    yield "index"


@lifespan.resource(timeout=30)
def recommendations_by_what_others_have_bought(database_pool, search_index, redis, covers=None):
    yield "recommendations"


@lifespan.on_start
async def warm_up_front_page(search_index, recommendations_by_what_others_have_bought, covers=None): ...


@lifespan.on_start
async def warm_up_bestsellers(search_index, redis): ...


@lifespan.background(required=False, on_crash="restart")
async def refresh_prices(http_client, publishers, database_pool): ...


@lifespan.background
async def follow_index(search_index, redis): ...


@lifespan.on_shutdown
def save_index(search_index): ...
"""

PAYMENTS = """
from lifespan_app import lifespan


@lifespan.resource(depends_on=["storage.refuse_old_schema"], timeout=10)
async def bank(http_client):
    yield "bank"


@lifespan.resource(required=False, timeout=3, shutdown_timeout=1)
async def fraud_detection(http_client):
    yield "fraud"


@lifespan.on_start(required=False)
def check_certificates(bank): ...


@lifespan.on_start(required=False, timeout=2)
def tell_bank_that_we_are_here(bank, fraud_detection=None): ...


@lifespan.background(service_types=["worker"])
async def settle_payments(bank): ...


@lifespan.on_shutdown(timeout=4)
async def flush_receipts(bank, database_pool): ...
"""

MAIL = """
from lifespan_app import lifespan


@lifespan.resource(service_types=["worker", "scheduler"])
async def smtp():
    yield "smtp"


@lifespan.on_start(service_types=["worker"])
async def say_hello(smtp): ...


@lifespan.background(service_types=["scheduler"])
async def send_newsletters(smtp, database_pool): ...


@lifespan.resource
def templates(settings_of_the_shop):
    return {}


@lifespan.on_shutdown
def count_letters(templates): ...
"""

OFFICE = """
from lifespan_app import lifespan


@lifespan.resource(service_types=["server"])
async def one_for_all_workers():
    yield "lock"


@lifespan.resource(50)
async def metrics():
    yield "metrics"


@lifespan.on_start(50)
def first_line_of_the_log(metrics): ...


@lifespan.on_start(50)
def second_line_of_the_log(metrics): ...


@lifespan.on_start(100, name="announce that the shop is open to everybody who may want to know")
def announce(metrics, bank): ...


@lifespan.resource
async def printer():
    yield "printer"
"""


def bookshop(project: Project) -> Project:
    """Write the shop into a project."""
    return (
        project.app("storage", lifespan=STORAGE)
        .app("catalogue", lifespan=CATALOGUE)
        .app("payments", lifespan=PAYMENTS)
        .app("mail", lifespan=MAIL)
        .app("office", lifespan=OFFICE)
        .settings(
            LIFESPAN={
                "SHUTDOWN_DEADLINE": 20,
                "HOOKS": {"office.printer": {"enabled": False}},
                "PLATFORM": {"startup": 40, "termination_grace": 10},
            }
        )
    )
