"""Smart http as sites run it: nginx with TLS and a login before git's own `http-backend`, by way of fcgiwrap."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.world import free_port, until
from tests.mirror.http_server import LOGIN

PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/bin"
NGINX, FCGIWRAP, SPAWN = (shutil.which(name, path=PROGRAMS) for name in ("nginx", "fcgiwrap", "spawn-fcgi"))

CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy; scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
        client_max_body_size {most}; auth_basic git; auth_basic_user_file {folder}/logins;
        location / {{
            fastcgi_pass unix:{folder}/cgi;
            fastcgi_param SCRIPT_FILENAME {backend}; fastcgi_param PATH_INFO $uri;
            fastcgi_param GIT_PROJECT_ROOT {root}; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
            fastcgi_param REMOTE_USER $remote_user; fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
        }}
    }}
}}
"""


class Nginx:
    """Serves the bare repositories of a folder to whoever knows the login. `start` again takes up new settings."""

    def __init__(self, folder: Path, root: Path, pem: Path) -> None:
        self.folder, self.root, self.pem = folder, root, pem
        self.most = "1m"
        """Longest body: nginx's own default."""
        self.port = free_port()
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def start(self) -> None:
        self.stop()
        salt = os.urandom(6)
        digest = base64.b64encode(hashlib.sha1(LOGIN[1].encode() + salt).digest() + salt).decode()
        (self.folder / "logins").write_text(f"{LOGIN[0]}:{{SSHA}}{digest}\n")
        core = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
        (self.folder / "nginx.conf").write_text(CONFIGURATION.format(
            folder=self.folder, port=self.port, pem=self.pem, most=self.most, root=self.root,
            backend=f"{core}/git-http-backend", user="user root;" if getpass.getuser() == "root" else "",
        ))  # fmt: skip
        (self.folder / "cgi").unlink(missing_ok=True)
        self._start(str(SPAWN), "-n", "-s", str(self.folder / "cgi"), "--", str(FCGIWRAP), "-c", "2")
        self._start(str(NGINX), "-e", str(self.folder / "error.log"), "-c", str(self.folder / "nginx.conf"))
        until(lambda: (self.folder / "pid").exists() and (self.folder / "cgi").exists(), "nginx runs", 30)

    def stop(self) -> None:
        for one in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGTERM)  # fcgiwrap leaves its children behind
            one.wait(10)
        self._running.clear()
        (self.folder / "pid").unlink(missing_ok=True)

    def _start(self, *words: str) -> None:
        with (self.folder / "said").open("ab") as said:
            self._running.append(subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True))


@contextmanager
def nginx_serving(folder: Path, root: Path, pem: Path) -> Iterator[Nginx]:
    """A running server; the test is skipped where its programs are missing."""
    if not (NGINX and FCGIWRAP and SPAWN):
        pytest.skip("no nginx or fcgiwrap here (apt-get install nginx fcgiwrap spawn-fcgi)")
    folder.mkdir()
    server = Nginx(folder, root, pem)
    server.start()
    try:
        yield server
    finally:
        server.stop()
