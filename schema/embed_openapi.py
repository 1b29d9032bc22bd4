"""Turns schema/openapi.yaml into a C++ source that holds it as JSON and as YAML.

    embed_openapi.py VERSION openapi.yaml openapi_document.cc

Anchors and merges are resolved and `x-anchors` is dropped, so that what we serve asks no more of a
YAML reader than any other document. Refuses what PyYAML lets pass: a key that is there twice, keys
that are not text (an unquoted 200), and values that YAML 1.1 takes for something else than they
look like (dates, `no`).
"""

import json
import sys

import yaml

KINDS = ("str", "int", "float", "null", "map", "seq")


def check(node, seen):
    """Exits at the first thing in `node` that we do not take; `seen` are the ids done already."""
    if id(node) in seen:
        return
    seen.add(id(node))

    def refuse(at, why):
        mark = at.start_mark
        sys.exit(f"{mark.name}:{mark.line + 1}:{mark.column + 1}: {why}")

    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "bool" and node.value not in ("true", "false"):
        refuse(node, f"{node.value} is true or false to YAML 1.1: quote it")
    # {description: One, two}: the second is a key of its own.
    if kind == "null" and node.value == "":
        refuse(node, "there is a key without a value: quote what has a comma in it")
    if kind not in KINDS and kind != "bool":
        refuse(node, f"{node.value} is a {kind} to YAML 1.1: quote it")
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            check(child, seen)
    if isinstance(node, yaml.MappingNode):
        names = set()
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                if key.tag != "tag:yaml.org,2002:str":
                    refuse(key, f"the key {key.value} is not text: quote it")
                if key.value in names:
                    refuse(key, f"the key {key.value} is there twice")
                names.add(key.value)
            check(value, seen)


class PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def literal(text):
    assert ')openapi"' not in text
    return f'R"openapi({text})openapi"'


def main():
    version, source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        loader = yaml.SafeLoader(file)
        try:
            root = loader.get_single_node()
            check(root, set())
            document = loader.construct_document(root)
        except yaml.YAMLError as error:
            sys.exit(f"{source}: {error}")
    del document["x-anchors"]
    document["info"]["version"] = version
    as_json = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    as_yaml = yaml.dump(document, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    with open(target, "w", encoding="utf-8") as file:
        file.write(f"""// Generated from schema/openapi.yaml.
#include "schema/openapi_document.h"

namespace forkbox::schema {{

std::string_view OpenApiJson() {{ return {literal(as_json)}; }}
std::string_view OpenApiYaml() {{ return {literal(as_yaml)}; }}

}}  // namespace forkbox::schema
""")


main()
