# Generated from assistant_graphs.py by tools/unasync.py. Do not edit.
"""The graphs of assistants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import path, query
from loomline._client._sync.http import SyncHttpClient
from loomline.schema import GraphSchema, QueryParamTypes, Subgraphs

_ONE = "/assistants/{assistant_id}"


class SyncAssistantGraphs:
    """Describes the graphs of assistants."""

    def __init__(self, http: SyncHttpClient) -> None:
        self.http = http

    def get_graph(
        self,
        assistant_id: str,
        *,
        xray: int | bool = False,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """Get the drawing of a graph (`GET /assistants/{assistant_id}/graph`).

        Args:
            assistant_id: The id of the assistant, or the name of its graph.
            xray: Whether subgraphs are drawn too; a number: so many levels of them.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            `nodes` and `edges`.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> graph = client.assistants.get_graph("agent", xray=True)
            >>> graph["edges"][0]
            {'source': '__start__', 'target': 'answer'}
        """
        place = path(f"{_ONE}/graph", assistant_id=assistant_id)
        merged = query({"xray": xray}, params)
        found = self.http.get(place, params=merged, headers=headers, timeout=timeout)
        return cast("dict[str, list[dict[str, Any]]]", found)

    def get_schemas(
        self,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> GraphSchema:
        """Get what a graph takes and gives (`GET /assistants/{assistant_id}/schemas`).

        Args:
            assistant_id: The id of the assistant.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            JSON schemas of input, output, state and context.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> schemas = client.assistants.get_schemas(assistant_id)
            >>> schemas["input_schema"]["type"]
            'object'
        """
        place = path(f"{_ONE}/schemas", assistant_id=assistant_id)
        found = self.http.get(place, params=params, headers=headers, timeout=timeout)
        return cast("GraphSchema", found)

    def get_subgraphs(
        self,
        assistant_id: str,
        namespace: str | None = None,
        recurse: bool = False,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Subgraphs:
        """Get the schemas of subgraphs (`GET /assistants/{assistant_id}/subgraphs`).

        Args:
            assistant_id: The id of the assistant.
            namespace: Only the subgraph of this namespace.
            recurse: Whether the subgraphs of subgraphs are meant too.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The schemas, by namespace.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> client.assistants.get_subgraphs(assistant_id, recurse=True)
            {}
        """
        place = path(f"{_ONE}/subgraphs", assistant_id=assistant_id)
        if namespace is not None:
            place += path("/{namespace}", namespace=namespace)
        merged = query({"recurse": recurse}, params)
        found = self.http.get(place, params=merged, headers=headers, timeout=timeout)
        return cast("Subgraphs", found)
