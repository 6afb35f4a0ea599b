"""The deployment in a folder: what runs where, and the changes that can be made to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from registry import layout
from registry.store import Registry
from tools.local import containers, processes, proxy
from tools.local.errors import LocalError
from training.files import replacing

CANARY = "canary"
SHADOW_SHARE = 0.25
"""Of the requests to stable, that it compares with what the canary would answer."""
IMAGES = Path(__file__).resolve().parents[2] / ".cache" / "container"


class Site:
    """A running deployment.  Raises ``LocalError`` when there is none in the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self._state: dict[str, Any] = json.loads(_file(folder).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LocalError(
                f"{folder}: nothing runs; 'python -m tools.local up' starts it"
            ) from None
        self.registry = Registry(Path(self._state["registry"]))
        self.proxy = proxy.Proxy(folder)

    @classmethod
    def start(
        cls, folder: Path, registry: Path, *, workers: int, port: int | None, container: bool
    ) -> Site:
        """Starts the proxy and, as stable, a service that follows the channel ``current``."""
        if _file(folder).exists():
            raise LocalError(f"{folder}: something runs; 'python -m tools.local down' ends it")
        proxy.program()
        identity = Registry(registry).find(layout.CURRENT)
        folder.mkdir(parents=True, exist_ok=True)
        ports = dict(zip(("port", "stable", "canary", "metrics", "more"), free(port), strict=True))
        _write(
            folder,
            {"registry": str(registry), "ports": ports, "workers": workers, "container": container},
        )
        site = cls(folder)
        try:
            site._serve("stable", identity)
            config = proxy.write_config(folder, ports["port"], ports["stable"], ports["canary"])
            site._keep(proxy=processes.mark(proxy.start(config, folder / "haproxy.log")))
        except BaseException:
            site.stop()
            raise
        return site

    @property
    def url(self) -> str:
        """Where all requests go."""
        return f"http://127.0.0.1:{self._state['ports']['port']}"

    @property
    def stable_url(self) -> str:
        """Where stable answers, and tells of its comparison with the canary."""
        return f"http://127.0.0.1:{self._state['ports']['stable']}"

    @property
    def in_containers(self) -> bool:
        """Whether services run in containers."""
        return bool(self._state["container"])

    def ask(self, path: str) -> Any:
        """The JSON that the proxy passes on for a path."""
        status, content = processes.ask(self._state["ports"]["port"], path)
        if status != 200:
            raise LocalError(f"{self.url}{path} answers {status}")
        return content

    def build_image(self, identity: str) -> str:
        """The image with a version in it."""
        return containers.build(IMAGES, self.registry.version_path(identity), identity)

    def start_canary(self, identity: str) -> None:
        """Serves a version beside stable, without a request yet; raises ``LocalError``."""
        self.end_canary()
        self._serve(CANARY, identity)
        self.proxy.admit(CANARY)

    def share(self, percent: int) -> None:
        """Gives the canary so many per cent of the requests; 0 ends it."""
        if percent == 0:
            self.end_canary()
            return
        if CANARY not in self._state:
            raise LocalError("there is no canary; 'python -m tools.release' starts one")
        self.proxy.share(percent)

    def end_canary(self) -> None:
        """Gives stable all requests, then stops the canary."""
        self.proxy.share(0)
        self.proxy.bar(CANARY)
        self._stop(CANARY)

    def status(self) -> list[str]:
        """What runs, for people."""
        weights = self.proxy.weights()
        lines = [f"requests to {self.url}, registry {self.registry.root}"]
        for role in proxy.SERVERS:
            if role not in self._state:
                continue
            port = self._state["ports"][role]
            model = processes.ask(port, "/v1/model")[1]["id"]
            kind = self._state[role].get("image", "process")
            share = weights[role]
            lines.append(f"  {role}: version {model[:12]}, {share} % of them ({kind}, port {port})")
        return lines

    def stop(self) -> None:
        """Stops all, the proxy first."""
        if "proxy" in self._state:
            processes.stop(self._state["proxy"])
        for role in proxy.SERVERS:
            self._stop(role)
        _file(self.folder).unlink()

    def _serve(self, role: str, identity: str) -> None:
        ports = self._state["ports"]
        metrics = ports["metrics" if role == "stable" else "more"]
        options = ["--host", "127.0.0.1", "--port", str(ports[role])]
        options += ["--workers", str(self._state["workers"])]
        options += ["--metrics-host", "127.0.0.1", "--metrics-port", str(metrics)]
        log = self.folder / f"{role}.log"
        root = self.registry.root.resolve()
        places = Path(containers.REGISTRY) if self.in_containers else root
        if role == "stable":
            options += ["--model", str(layout.channel_link(places, layout.CURRENT)), "--watch"]
            options += ["--shadow", str(layout.channel_link(places, CANARY))]
            options += ["--shadow-share", str(SHADOW_SHARE)]
        if self.in_containers:
            image = self.build_image(identity)
            service = containers.start(IMAGES, image, options, root, self.folder, role)
        else:
            if role != "stable":
                options += ["--model", str(self.registry.version_path(identity).resolve())]
            command = [sys.executable, "-m", "topiccore.cli", "serve", *options]
            service = processes.start(command, log)
        self._keep(**{role: service})
        try:
            processes.wait_until_ready(ports[role], service, log)
        except LocalError:
            self._stop(role)
            raise

    def _stop(self, role: str) -> None:
        service = self._state.get(role)
        if service is None:
            return
        if self.in_containers:
            containers.stop(service)
        else:
            processes.stop(service)
        del self._state[role]
        _write(self.folder, self._state)

    def _keep(self, **more: Any) -> None:
        self._state |= more
        _write(self.folder, self._state)


def free(port: int | None) -> list[int]:
    """Five free ports; the first is the given one, if any."""
    found = processes.free_ports(5)
    return [port or found[0], *found[1:]]


def _file(folder: Path) -> Path:
    return folder / "site.json"


def _write(folder: Path, state: dict[str, Any]) -> None:
    with replacing(_file(folder)) as partial:
        partial.write_text(json.dumps(state, indent=1), encoding="utf-8")
