"""How a start that fails is tried again."""

# Without "from __future__ import annotations", as in hook.py: a named tuple compiles strings.

from typing import NamedTuple, Self

from .values import seconds

ExceptionClasses = type[Exception] | tuple[type[Exception], ...]


class RetryFields(NamedTuple):
    """The values of a ``Retry``."""

    for_: float
    first: float
    longest: float
    on: tuple[type[Exception], ...]


class Retry(RetryFields):
    """How the start of a hook is tried again after it has failed.

    Between two attempts there is a pause, up to a tenth shorter or longer; each pause is twice as
    long as the one before. ``timeout`` of the hook is the limit of one attempt.

    Args:
        for_: seconds from the begin of the first attempt in which the hook has to start.
        first: the first pause, in seconds.
        longest: the longest pause, in seconds.
        on: the exception classes after which it is tried again. A passed ``timeout`` counts as
            ``TimeoutError``. An error of ``lifespan_app`` itself is final, such as that of a
            generator that does not yield.

    Raises:
        TypeError, ValueError: a number is not above 0, or ``on`` holds no exception classes.
    """

    __slots__ = ()

    def __new__(
        cls,
        for_: float = 60.0,
        first: float = 0.5,
        longest: float = 10.0,
        on: ExceptionClasses = (Exception,),
    ) -> Self:
        """Return it, if its values are what they have to be."""
        for name, value in (("for_", for_), ("first", first), ("longest", longest)):
            if seconds(value, f"{name} of Retry") is None:
                raise TypeError(f"{name} of Retry is a number of seconds, not None.")
        kinds = on if isinstance(on, tuple) else (on,)
        if not kinds or not all(
            isinstance(one, type) and issubclass(one, Exception) for one in kinds
        ):
            raise TypeError(f"on of Retry holds exception classes, not {on!r}.")
        return super().__new__(cls, for_, first, longest, kinds)

    def is_for(self, error: BaseException) -> bool:
        """Return True if a start that has failed with an error is tried again.

        Of a group, each error has to be one of the classes, unless the group itself is.
        """
        from lifespan_app.engine.error_text import is_a, leaves_of  # not paid for by an import
        from lifespan_app.engine.errors import LifespanError

        leaves = list(leaves_of(error))
        if any(is_a(leaf, LifespanError) for leaf in leaves):
            return False
        return is_a(error, self.on) or all(is_a(leaf, self.on) for leaf in leaves)


def retry_of(value: object) -> Retry | None:
    """Return ``value``, the option ``retry``; a number of seconds stands for ``Retry(for_=...)``.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if value is None or isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"retry is a number of seconds or a Retry, not {value!r}.")
    return Retry(seconds(value, "retry") or 0.0)
