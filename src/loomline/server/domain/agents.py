"""The tree of the graphs of a run, as its lifecycle events tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from loomline.server.domain.json import Json, JsonObject, load_object
from loomline.server.domain.protocol import ROOT, Namespace, Numbered, Topic, run_of


@dataclass(slots=True)
class AgentTree:
    """The graphs of a thread's last run, or of the run with an id."""

    run_id: str | None = None
    _run: str = ""
    _graphs: dict[Namespace, JsonObject] = field(default_factory=dict)

    def add(self, event: Numbered) -> None:
        """Take the next event of the thread."""
        topic = Topic.of(event.key)
        if topic.method != "lifecycle":
            return
        content = load_object(event.data)
        run = run_of(content)
        if self.run_id is not None and run != self.run_id:
            return
        if run != self._run:
            self._run, self._graphs = run, {}
        data = cast("JsonObject", cast("JsonObject", content["params"])["data"])
        known = self._graphs.setdefault(topic.namespace, {"graph_name": ""})
        known["status"] = data["event"]
        known["graph_name"] = data.get("graph_name") or known["graph_name"]

    def tree(self) -> JsonObject | None:
        """Return the tree; None: there has been no such run."""
        return self._node(ROOT) if ROOT in self._graphs else None

    def _node(self, namespace: Namespace) -> JsonObject:
        depth = len(namespace) + 1
        below: list[Json] = [
            self._node(each)
            for each in self._graphs
            if len(each) == depth and each[:-1] == namespace
        ]
        node: JsonObject = {"namespace": [*namespace], **self._graphs[namespace]}
        return {**node, "children": below} if below else node
