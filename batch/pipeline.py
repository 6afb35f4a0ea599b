"""Reading, scoring and writing at the same time, in order and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""So many items more than there are threads are on their way."""


@contextmanager
def in_order(
    items: Iterable[T],
    work: Callable[[T], R],
    threads: int,
    rest: Callable[[R], Sequence[T]] = lambda _: (),
) -> Iterator[Iterator[R]]:
    """``map(work, items)`` with ``items`` drawn by one thread and the work shared by others.

    Work may do a part of its item: ``rest`` of its result are the items that are left of it, whose
    results come next.  Results come in the order of the items, as soon as they can; an error of
    drawing or of work is raised where its item's turn has come.  Leaving the block ends all
    threads.
    """
    waiting: queue.SimpleQueue[Future[R] | None] = queue.SimpleQueue()
    room = threading.Semaphore(threads + _AHEAD)
    stop = threading.Event()
    pool = ThreadPoolExecutor(threads, "score")

    def draw() -> None:
        try:
            room.acquire()
            for item in items:
                if stop.is_set():
                    return
                waiting.put(pool.submit(work, item))
                room.acquire()
            waiting.put(None)
        except BaseException as error:
            failed: Future[R] = Future()
            failed.set_exception(error)
            waiting.put(failed)

    def results() -> Iterator[R]:
        while (future := waiting.get()) is not None:
            yield from whole(future)
            room.release()

    def whole(future: Future[R]) -> Iterator[R]:
        result = future.result()
        left = iter(rest(result))
        ahead = deque(pool.submit(work, item) for item in islice(left, threads + _AHEAD))
        yield result
        del result, future
        while ahead:
            yield from whole(ahead.popleft())
            ahead.extend(pool.submit(work, item) for item in islice(left, 1))

    # A daemon: a read from a pipe that never ends must not keep the process.
    thread = threading.Thread(target=draw, name="read", daemon=True)
    thread.start()
    try:
        yield results()
    finally:
        stop.set()
        room.release()
        pool.shutdown(cancel_futures=True)
        thread.join(timeout=1)
