#!/usr/bin/env python3
"""Writes the sources of the book for mdBook into a folder: docs/SUMMARY.md and all pages that it lists.

usage: .ci/book.py FOLDER

The folders are those of the repository, so links between pages stay as they are. Runbooks and decisions are
listed below their index. A link to a file that is no page (code, examples) becomes its text.
"""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"\s*```")
# The folders whose pages are listed by the book, in the order of their names.
LISTED = ("docs/runbooks", "docs/adr")


def title(page):
    return (ROOT / page).read_text().split("\n", 1)[0].lstrip("# ").replace("[", "\\[").replace("]", "\\]")


def below(index):
    """The pages beside an index that has no list of its own in the summary."""
    folder = os.path.dirname(index)
    if folder not in LISTED:
        return []
    return sorted(f"{folder}/{page.name}" for page in (ROOT / folder).glob("*.md") if page.name != "README.md")


def summary():
    """The summary with links from the root, and the pages that it lists."""
    lines, pages = [], []
    for line in (ROOT / "docs/SUMMARY.md").read_text().splitlines():
        link = LINK.search(line)
        if not link:
            lines.append(line)
            continue
        page = os.path.normpath(os.path.join("docs", link[3]))
        lines.append(line.replace(f"({link[3]})", f"({page})"))
        pages.append(page)
        for child in below(page):
            lines.append(f"  - [{title(child)}]({child})")
            pages.append(child)
    return "\n".join(lines) + "\n", pages


def within_book(page, text, pages, pictures):
    """The text of a page, whose links to other files than pages and pictures are texts."""
    def replace(link):
        path = link[3].split("#")[0]
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if "://" in link[3] or link[3].startswith("mailto:") or target in pages:
            return link[0]
        if target.endswith((".svg", ".png")):
            pictures.add(target)
            return link[0]
        return link[2]

    fenced, lines = False, []
    for line in text.splitlines():
        fence = bool(FENCE.match(line))
        fenced ^= fence
        lines.append(line if fence or fenced else LINK.sub(replace, line))
    return "\n".join(lines) + "\n"


def main(arguments):
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    book = Path(arguments[0])
    text, pages = summary()
    pictures = set()
    (book / "src").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "docs/book.toml", book / "book.toml")
    (book / "src/SUMMARY.md").write_text(text)
    for page in pages:
        target = book / "src" / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(within_book(page, (ROOT / page).read_text(), pages, pictures))
    for picture in sorted(pictures):
        target = book / "src" / picture
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / picture, target)
    print(f"{book}: {len(pages)} pages, {len(pictures)} pictures")


main(sys.argv[1:])
