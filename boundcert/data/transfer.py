"""One HTTP transfer into a partial file, continued where an earlier one broke off."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path

from boundcert.errors import RefusedInput

ATTEMPTS = 3
TIMEOUT_S = 30.0
PAUSE_S = 0.5
CHUNK_BYTES = 2**16


def transfer(url: str, part: Path, limit: int) -> None:
    """Fetch ``url`` into ``part``, appending to what is there if the server serves ranges.

    Raises
    ------
    RefusedInput
        Every attempt failed, or the server sends more than ``limit`` bytes.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_S * attempt)
        try:
            return _receive(url, part, limit)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is longer than the real one: start again
                part.write_bytes(b"")
            elif error.code < 500:
                raise RefusedInput(f"{url}: the server answers {error.code}") from error
            reason = f"the server answers {error.code}"
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
    raise RefusedInput(f"{url}: cannot be fetched ({reason}), {ATTEMPTS} attempts")


def _receive(url: str, part: Path, limit: int) -> None:
    """One request; an ``OSError`` when it breaks off, leaving what came in ``part``."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "boundcert"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        continued = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status != 206 or not continued:
            have = 0  # a server without ranges sends the whole file again
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with open(part, "ab" if have else "wb") as handle:
            while chunk := response.read(CHUNK_BYTES):
                have += len(chunk)
                if have > limit:
                    raise RefusedInput(f"{url}: sends more than the expected {limit:,} bytes")
                handle.write(chunk)
    if total is not None and have < total:
        raise ConnectionError(f"broken off after {have:,} of {total:,} bytes")
