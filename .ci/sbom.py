#!/usr/bin/env python3
"""Writes the list of the components of a release (CycloneDX 1.5, JSON) to a file, or to standard output.

usage: .ci/sbom.py [FILE]
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = "tidegate"


def cargo_metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


def shipped(metadata):
    """The packages in the program, or needed to build it, with those that each uses."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    product = next(p for p in metadata["packages"] if p["name"] == PRODUCT and not p["source"])
    uses, left = {}, [product["id"]]
    while left:
        package = left.pop()
        if package in uses:
            continue
        kinds = [(dep["pkg"], {kind["kind"] for kind in dep["dep_kinds"]}) for dep in nodes[package]["deps"]]
        uses[package] = sorted(name for name, kind in kinds if kind - {"dev"})
        left.extend(uses[package])
    return product, [packages[name] for name in sorted(uses)], uses


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    described = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if licence := package.get("license"):
        described["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}]
    if checksum := checksums.get((package["name"], package["version"])):
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    elif package["source"]:
        sys.exit(f"sbom: {reference(package)} has no checksum in Cargo.lock")
    return described


def main(arguments):
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    product, packages, uses = shipped(cargo_metadata())
    names = {package["id"]: reference(package) for package in packages}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(product, checksums) | {"type": "application"}},
        "components": [component(p, checksums) for p in packages if p is not product],
        "dependencies": [
            {"ref": names[package], "dependsOn": [names[used] for used in uses[package]]}
            for package in sorted(uses)
        ],
    }
    text = json.dumps(bom, indent=2) + "\n"
    if arguments:
        Path(arguments[0]).write_text(text)
        print(f"{arguments[0]}: {len(bom['components'])} components")
    else:
        sys.stdout.write(text)


main(sys.argv[1:])
