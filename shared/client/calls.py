"""What a request is before anybody sends it, and how one declaration becomes a method of both clients.

`operations.py` declares what the API can do; `client.py` sends it, at once or awaited.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Parameters = dict[str, str | int | list[str]]


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request of a path under `/api/v1`.

    Attributes:
        read: Makes the result from the body of the answer.
        fields: The body as JSON.
        content: The body as it is.
        timeout_s: The time for all tries together; None: the client's own.
        is_file: Its body or its answer is as long as a file is. It is sent once, and no silence within it may be longer than
            the client's own time-out.
        is_repeatable: Whether doing it twice is as good as once, so that it may be sent again after a lost answer.
    """

    method: str
    path: str
    read: Callable[[bytes], T_co]
    parameters: Parameters = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, object] | None = None
    content: bytes | Iterable[bytes] | None = None
    timeout_s: float | None = None
    is_file: bool = False
    is_repeatable: bool = False


class Sender(ABC):
    """Sends calls, and waits for their answers."""

    @abstractmethod
    def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe, and read its answer."""


class AsyncSender(ABC):
    """Sends calls for a caller that awaits their answers."""

    @abstractmethod
    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe, and read its answer."""


class Operation(Generic[P, T]):
    """A method that makes a call: a client sends it and returns the result, an asynchronous client a coroutine of it."""

    def __init__(self, make: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: Sender, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: AsyncSender, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "Operation[P, T]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self

        def send(*args: P.args, **kwargs: P.kwargs) -> Any:
            return instance.send(self._make(instance, *args, **kwargs))

        return update_wrapper(send, self._make)
