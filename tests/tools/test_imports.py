"""No circle of imports: not at run time, not for type checkers, not inside functions."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Return one circle of modules that import each other, or an empty list."""
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def package() -> grimp.ImportGraph:
    return grimp.build_graph("loomline", cache_dir=None)


def test_modules_of_the_package_never_import_each_other(package):
    assert circle(package) == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("loomline._client._async.stream_handles", "loomline._client._async.stream"),
        ("loomline.stream.types", "loomline.stream"),
    ],
)
def test_an_import_that_closes_a_circle_is_found(package, importer, imported):
    package.add_import(importer=importer, imported=imported)
    try:
        assert {importer, imported} <= set(circle(package))
    finally:
        package.remove_import(importer=importer, imported=imported)
