"""`models pull` against a small server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "gdhe17/Self-Forcing"
FILES = {"checkpoints/self_forcing_dmd.pt": bytes(range(256)) * 400, "README.md": b"not wanted"}


class Hub(BaseHTTPRequestHandler):
    """Model page and files of one repository; the first answer for the weights breaks off half way."""

    broken = 0
    seen: list[str] = []  # noqa: RUF012

    def _answer(self, body: bool) -> None:
        type(self).seen.append(f"{self.command} {self.path}")
        if self.path.startswith(f"/api/models/{REPOSITORY}/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            return self._send(json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)
        if self.path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [
                {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            page = {
                "id": REPOSITORY,
                "modelId": REPOSITORY,
                "sha": COMMIT,
                "siblings": siblings,
                "cardData": {"license": "apache-2.0"},
                "tags": [],
                "private": False,
            }
            return self._send(json.dumps(page).encode(), {"Content-Type": "application/json"}, body)
        for name, data in FILES.items():
            if self.path == f"/{REPOSITORY}/resolve/{COMMIT}/{name}":
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
                headers = {
                    "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
                    "X-Repo-Commit": COMMIT,
                    "Accept-Ranges": "bytes",
                }
                return self._send(data[start:], headers, body, 206 if start else 200)
        self.send_error(404)
        return None

    def _send(self, data: bytes, headers: dict[str, str], body: bool, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and len(data) > 10_000 and type(self).broken > 0:
            type(self).broken -= 1
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.seen.clear()
    Hub.broken = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def pull(hub: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "filmwright", "models", "pull", "self-forcing", "-o", str(folder / "sf"), *options]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_size_and_licence_come_first_and_nothing_is_fetched_without_a_yes(hub: str, tmp_path: Path) -> None:
    done = pull(hub, tmp_path)
    assert done.returncode == 2
    assert "0.00 GB in 1 files, licence apache-2.0" in done.stderr
    assert "nothing was fetched" in done.stderr
    assert Hub.seen == [f"GET /api/models/{REPOSITORY}?blobs=true"]


def test_the_files_arrive_and_their_licence_is_kept(hub: str, tmp_path: Path) -> None:
    Hub.broken = 1  # the client goes on where the first answer broke off
    done = pull(hub, tmp_path, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sf" / "checkpoints" / "self_forcing_dmd.pt").read_bytes() == FILES[
        "checkpoints/self_forcing_dmd.pt"
    ]
    assert not (tmp_path / "sf" / "README.md").exists()
    assert sum(line.startswith("GET") and "/resolve/" in line for line in Hub.seen) == 2
    assert json.loads((tmp_path / "sf" / "source.json").read_text(encoding="utf-8"))["licence"] == "apache-2.0"


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    done = pull("http://127.0.0.1:9", tmp_path, "--yes")
    assert done.returncode == 1
    assert "cannot be looked up" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
