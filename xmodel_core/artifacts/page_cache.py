"""Reads files on an object store page by page, through a bounded amount of local disk.

Takes a file and a range of bytes; gives the bytes. Pages are fetched on first use, those requested together in
parallel; the least recently used is evicted. Each process has a cache of its own, deleted when it ends.
"""

import shutil
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from xmodel_core.artifacts import remote
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.artifacts.disk import naming_a_full_disk, new_staging_folder

PAGES, SMALLEST_PAGE, LARGEST_PAGE = 256, 1 << 12, 1 << 20

Page = tuple[remote.RemoteFile, int]
"""A file and a page number in it, from 0."""


class PageCache:
    """At most `limit_bytes` of pages. Threads may share it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.page_bytes = min(LARGEST_PAGE, max(SMALLEST_PAGE, limit_bytes // PAGES))
        self.fetched_bytes = 0
        """Bytes fetched so far, repeats included."""
        self._folder = new_staging_folder(cache_root())
        self._pages: OrderedDict[Page, tuple[Path, np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()
        weakref.finalize(self, shutil.rmtree, self._folder, True)

    def pages_of(self, file: remote.RemoteFile, start: int, end: int) -> list[Page]:
        """The pages that hold bytes `start` to `end` (excluded) of a file."""
        return [(file, number) for number in range(start // self.page_bytes, -(-end // self.page_bytes))]

    def fetch(self, pages: Iterable[Page]) -> None:
        """Fetches pages in parallel, at most as many as the cache holds; the rest is fetched when it is read."""
        wanted = list(dict.fromkeys(pages))[: max(1, self.limit_bytes // self.page_bytes)]
        with self._lock:
            missing = [page for page in wanted if page not in self._pages]
            for page in wanted:
                if page in self._pages:
                    self._pages.move_to_end(page)
        for page, data in zip(missing, remote.in_parallel(self._download, missing), strict=True):
            self._keep(page, data)

    def read(self, file: remote.RemoteFile, start: int, end: int) -> np.ndarray:
        """Bytes `start` to `end` (excluded) of a file, as uint8."""
        first = start // self.page_bytes
        parts = [self._page(page) for page in self.pages_of(file, start, end)]
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return data[start - first * self.page_bytes : end - first * self.page_bytes]

    def _download(self, page: Page) -> bytes:
        file, number = page
        start = number * self.page_bytes
        return remote.read_range(file.address, start, min(start + self.page_bytes, file.bytes))

    def _page(self, page: Page) -> np.ndarray:
        with self._lock:
            if page in self._pages:
                self._pages.move_to_end(page)
                return self._pages[page][1]
        return self._keep(page, self._download(page))

    def _keep(self, page: Page, data: bytes) -> np.ndarray:
        with self._lock:
            self.fetched_bytes += len(data)
            if page not in self._pages:
                while self._pages and (len(self._pages) + 1) * self.page_bytes > self.limit_bytes:
                    self._pages.popitem(last=False)[1][0].unlink()
                path = self._folder / f"{self.fetched_bytes}"
                with naming_a_full_disk(self._folder):
                    path.write_bytes(data)
                self._pages[page] = path, np.memmap(path, np.uint8, mode="r").view(np.ndarray)
            return self._pages[page][1]


class RemoteTokens:
    """A file of tokens on an object store, sliced like an array and fetched as needed."""

    def __init__(self, cache: PageCache, file: remote.RemoteFile, dtype: np.dtype) -> None:
        self._cache, self._file, self._dtype = cache, file, dtype

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._file.bytes // self._dtype.itemsize)
        if stop <= start:
            return np.empty(0, self._dtype)
        return self._cache.read(self._file, *self._bytes(start, stop)).view(self._dtype)

    def _bytes(self, start: int, stop: int) -> tuple[int, int]:
        return start * self._dtype.itemsize, stop * self._dtype.itemsize

    def pages(self, start: int, stop: int) -> list[Page]:
        """The pages that hold tokens `start` to `stop` (excluded)."""
        return self._cache.pages_of(self._file, *self._bytes(start, stop))
