"""A model hub on localhost: as much of the Hub's HTTP API as `huggingface_hub` and `datasets` use.

The real clients talk to it (``HF_ENDPOINT``): reading files with revisions, ETags and redirects, listing trees, asking
who one is, making repositories and uploading commits, small files inline and large ones through LFS. It serves folders
on disk and keeps what is uploaded beside them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.parallel import serving

#: Files larger than this are LFS objects, and are redirected to another address as on the real Hub.
LARGE = 200_000


class Hub:
    """The state of the stand-in.

    Args:
        root: Folder with ``models/OWNER/NAME`` and ``datasets/OWNER/NAME``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = ""
        #: token -> name of the user and the organisations in which it may write.
        self.users: dict[str, tuple[str, list[str]]] = {"hf_writer": ("saram", ["team"])}
        #: Tokens that may only read.
        self.readers: set[str] = set()
        #: Repository -> whether it is private, for those that a client made.
        self.created: dict[str, bool] = {}
        self.requests: list[str] = []
        #: Answer requests with this status, such as 503, as long as it is set.
        self.failing: int | None = None
        self._objects: dict[str, bytes] = {}

    def _may_write(self, token: str, owner: str) -> bool:
        known = self.users.get(token)
        return known is not None and token not in self.readers and owner in (known[0], *known[1])

    def folder(self, kind: str, name: str) -> Path:
        """The folder of a repository."""
        return self.root / kind / name

    def files(self, kind: str, name: str) -> dict[str, Path] | None:
        """A repository's files by path; None if there is no such repository."""
        folder = self.folder(kind, name)
        if not folder.is_dir():
            return None
        return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}

    def environment(self, cache: Path, **others: str) -> dict[str, str]:
        """The environment of somebody who knows the hub only, with a folder to keep what it gives."""
        known = {"HF_ENDPOINT": self.address, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
        inherited = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
        return {**inherited, **known, "HF_HUB_OFFLINE": "0", **others}

    def commit(self, kind: str, name: str) -> str:
        """The commit of a repository's present content."""
        digest = hashlib.sha1(f"{kind}/{name}".encode(), usedforsecurity=False)
        for path, file in (self.files(kind, name) or {}).items():
            digest.update(path.encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """Serve a folder as a hub while the block runs."""
    hub = Hub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield hub


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def _handle(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunked()
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(f"{method} {path}")
        if self.hub.failing is not None:
            return self._json({"error": "the hub is down"}, self.hub.failing)
        for pattern, name in _ROUTES:
            if match := re.fullmatch(pattern, path):
                named = {key: value for key, value in match.groupdict().items() if value is not None}
                return getattr(self, name)(method, body, parse_qs(url.query), **named)
        return self._json({"error": f"no such address: {method} {path}"}, 404)

    def _chunked(self) -> bytes:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    # Answers

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200, **headers: str) -> None:
        text = json.dumps(content).encode()
        self._send(status, text, {"Content-Type": "application/json", **headers})

    def _missing(self, code: str, message: str) -> None:
        self._json({"error": message}, 404, **{"X-Error-Code": code, "X-Error-Message": message})

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _may_write(self, owner: str) -> bool:
        return self.hub._may_write(self._token(), owner)

    # Reading

    def resolve(
        self, method: str, body: bytes, query: Any, name: str, file: str, kind: str = "models", **_: Any
    ) -> None:
        files = self.hub.files(kind.rstrip("/") or "models", name)
        if files is None:
            return self._missing("RepoNotFound", "Repository not found")
        commit = self.hub.commit(kind.rstrip("/"), name)
        if file not in files:
            return self._json(
                {"error": "Entry not found"},
                404,
                **{"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", "X-Repo-Commit": commit},
            )
        content = files[file].read_bytes()
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(content) > LARGE:
            sha = hashlib.sha256(content).hexdigest()
            self.hub._objects[sha] = content
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content)), "ETag": f'"{sha}"'}
            return self._send(302, b"", {**headers, "Location": f"{self.hub.address}/cdn/{sha}"})
        return self._content(content, {**headers, "ETag": f'"{_git_sha(content)}"'})

    def cdn(self, method: str, body: bytes, query: Any, sha: str) -> None:
        return self._content(self.hub._objects[sha], {"ETag": f'"{sha}"', "Accept-Ranges": "bytes"})

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return self._send(200, content, {"Content-Type": "application/octet-stream", **headers})
        start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return self._send(206, content[start : end + 1], headers)

    def info(self, method: str, body: bytes, query: Any, kind: str, name: str, revision: str = "main") -> None:
        files = self.hub.files(kind, name)
        if files is None:
            return self._missing("RepoNotFound", "Repository not found")
        commit = self.hub.commit(kind, name)
        if revision not in ("main", commit):
            return self._missing("RevisionNotFound", f"Invalid rev id: {revision}")
        return self._json(
            {
                "_id": commit[:24],
                "id": name,
                "modelId": name,
                "author": name.split("/")[0],
                "sha": commit,
                "private": self.hub.created.get(name, False),
                "disabled": False,
                "gated": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in files],
            }
        )

    def tree(self, method: str, body: bytes, query: Any, kind: str, name: str, revision: str, path: str = "") -> None:
        files = self.hub.files(kind, name)
        if files is None:
            return self._missing("RepoNotFound", "Repository not found")
        path = path.strip("/")
        inside = f"{path}/" if path else ""
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, Any] = {}
        for one, file in files.items():
            if not one.startswith(inside):
                continue
            rest = one[len(inside) :]
            if "/" in rest:
                folders = rest.split("/")[:-1]
                for depth in range(1, len(folders) + 1 if recursive else 2):
                    folder = inside + "/".join(folders[:depth])
                    entries[folder] = {"type": "directory", "oid": _git_sha(folder.encode()), "size": 0, "path": folder}
                if not recursive:
                    continue
            entries[one] = self._entry(one, file)
        if path and not entries:
            return self._missing("EntryNotFound", f"{path} does not exist")
        return self._json(list(entries.values()))

    def paths_info(self, method: str, body: bytes, query: Any, kind: str, name: str, revision: str) -> None:
        files = self.hub.files(kind, name)
        if files is None:
            return self._missing("RepoNotFound", "Repository not found")
        try:
            asked = json.loads(body)["paths"]
        except ValueError:
            asked = parse_qs(body.decode()).get("paths", [])
        found = []
        for path in [asked] if isinstance(asked, str) else asked:
            if path in files:
                found.append(self._entry(path, files[path]))
            elif any(one.startswith(f"{path}/") for one in files):
                found.append({"type": "directory", "oid": _git_sha(path.encode()), "size": 0, "path": path})
        return self._json(found)

    def _entry(self, path: str, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        entry: dict[str, Any] = {"type": "file", "oid": _git_sha(content), "size": len(content), "path": path}
        if len(content) > LARGE:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    # Writing

    def whoami(self, method: str, body: bytes, query: Any) -> None:
        known = self.hub.users.get(self._token())
        if known is None:
            return self._json({"error": "Invalid username or password."}, 401)
        role = "read" if self._token() in self.hub.readers else "write"
        return self._json(
            {
                "type": "user",
                "id": "1",
                "name": known[0],
                "fullname": known[0],
                "isPro": False,
                "orgs": [{"type": "org", "id": "2", "name": org, "roleInOrg": "write"} for org in known[1]],
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
            }
        )

    def create(self, method: str, body: bytes, query: Any) -> None:
        asked = json.loads(body)
        known = self.hub.users.get(self._token())
        owner = asked.get("organization") or (known[0] if known else "")
        if not self._may_write(owner):
            status = 401 if known is None else 403
            return self._json(
                {"error": f"You don't have the rights to create a model under the namespace {owner!r}"}, status
            )
        name = f"{owner}/{asked['name']}"
        kind = f"{asked.get('type', 'model')}s"
        if self.hub.folder(kind, name).exists():
            return self._json(
                {"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"}, 409
            )
        self.hub.folder(kind, name).mkdir(parents=True)
        self.hub.created[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
        return self._json({"url": f"{self.hub.address}/{name}", "name": name, "id": name})

    def yaml(self, method: str, body: bytes, query: Any) -> None:
        return self._json({"errors": [], "warnings": []})

    def preupload(self, method: str, body: bytes, query: Any, kind: str, name: str, revision: str) -> None:
        if not self._may_write(name.split("/")[0]):
            return self._json({"error": "Forbidden"}, 403)
        files = json.loads(body)["files"]
        answer = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] > LARGE else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in files
        ]
        return self._json({"files": answer})

    def lfs_batch(self, method: str, body: bytes, query: Any, name: str, kind: str = "") -> None:
        if not self._may_write(name.split("/")[0]):
            return self._json({"message": "Forbidden"}, 403)
        objects = [
            {
                "oid": one["oid"],
                "size": one["size"],
                "actions": {"upload": {"href": f"{self.hub.address}/upload/{one['oid']}", "header": {}}},
            }
            for one in json.loads(body)["objects"]
        ]
        return self._json({"transfer": "basic", "objects": objects})

    def upload(self, method: str, body: bytes, query: Any, sha: str) -> None:
        assert hashlib.sha256(body).hexdigest() == sha, "what arrives is not what was announced"
        self.hub._objects[sha] = body
        return self._json({})

    def commits(self, method: str, body: bytes, query: Any, kind: str, name: str, revision: str) -> None:
        if not self._may_write(name.split("/")[0]):
            return self._json({"error": "Forbidden"}, 403)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                content = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                content = self.hub._objects[value["oid"]]
            else:
                continue
            path = self.hub.folder(kind, name) / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        commit = self.hub.commit(kind, name)
        return self._json(
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"{self.hub.address}/{name}/commit/{commit}",
                "hookOutput": "",
            }
        )


def _git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


_NAME = r"(?P<name>[^/]+/[^/]+)"
_ROUTES = [
    (r"/api/whoami-v2", "whoami"),
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "yaml"),
    (rf"/api/(?P<kind>models|datasets)/{_NAME}/tree/(?P<revision>[^/]+)(?P<path>/.*)?", "tree"),
    (rf"/api/(?P<kind>models|datasets)/{_NAME}/paths-info/(?P<revision>[^/]+)", "paths_info"),
    (rf"/api/(?P<kind>models|datasets)/{_NAME}/preupload/(?P<revision>[^/]+)", "preupload"),
    (rf"/api/(?P<kind>models|datasets)/{_NAME}/commit/(?P<revision>[^/]+)", "commits"),
    (rf"/api/(?P<kind>models|datasets)/{_NAME}(/revision/(?P<revision>[^/]+))?", "info"),
    (r"/cdn/(?P<sha>\w+)", "cdn"),
    (r"/upload/(?P<sha>\w+)", "upload"),
    (rf"/(?P<kind>datasets/)?{_NAME}\.git/info/lfs/objects/batch", "lfs_batch"),
    (rf"/(?P<kind>datasets/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", "resolve"),
]
