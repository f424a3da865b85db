"""How the code grew between two commits: lines per package, the longest modules and functions, files a change touches.

.venv/bin/python tools/code_size.py cd221c2 HEAD --touched e57c2d9
"""

import ast
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

PACKAGES = ("tiling", "model", "pipeline", "cli", "tools")
LONG = 300  # lines of a module that has one job
SHOWN = 8


@dataclass
class CodeSize:
    """What a commit holds: lines of product and tests per package; modules and functions, the longest first.

    Attributes
    ----------
    lines : dict of (package, "product" or "tests") to int
    modules, functions : list of (int, str)
        Lines and name; product only.
    """

    lines: dict[tuple[str, str], int] = field(default_factory=dict)
    modules: list[tuple[int, str]] = field(default_factory=list)
    functions: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def at(cls, commit: str) -> "CodeSize":
        """Read a commit."""
        code = cls()
        for path in git("ls-tree", "-r", "--name-only", commit).splitlines():
            if path.endswith(".py"):
                code._add(path, git("show", f"{commit}:{path}"))
        code.modules.sort(reverse=True)
        code.functions.sort(reverse=True)
        return code

    def _add(self, path: str, text: str) -> None:
        if "\n" not in text:  # a link
            return
        parts, count = PurePath(path).parts, text.count("\n")
        kind = "tests" if parts[0] == "tests" else "product"
        key = package(parts[1:] if kind == "tests" else parts), kind
        self.lines[key] = self.lines.get(key, 0) + count
        if kind == "product" and parts[0] != "tools":
            self.modules.append((count, path))
            self.functions += [(end - start + 1, f"{path}: {name}") for name, start, end in functions(text)]


def package(parts: tuple[str, ...]) -> str:
    """The package that a file belongs to, the tests of it included; "other" for what serves several."""
    if parts[0] == "pipeline" and len(parts) > 2:
        return f"pipeline/{parts[1]}"
    first = parts[0].removeprefix("test_").removesuffix(".py")
    return "cli" if first in ("muralist", "options", "api") else first if first in PACKAGES else "other"


def functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, first and last line of every function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def git(*arguments: str) -> str:
    """What git says."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Lay out as Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def compare(before: CodeSize, after: CodeSize) -> str:
    """Both commits side by side."""
    packages = sorted({name for name, _ in (*before.lines, *after.lines)})
    kinds = ("product", "tests")
    rows: list[tuple[object, ...]] = [
        (name, *(code.lines.get((name, kind), 0) for kind in kinds for code in (before, after))) for name in packages
    ]
    rows.append(
        ("**all**", *(sum(h.lines.get((n, kind), 0) for n in packages) for kind in kinds for h in (before, after)))
    )
    parts = [table(("package", "product before", "after", "tests before", "after"), rows)]
    for what, least in (("modules", LONG), ("functions", 50)):
        found = [getattr(code, what) for code in (before, after)]
        counts = [sum(lines > least for lines, _ in each) for each in found]
        parts.append(f"{what} of more than {least} lines: {counts[0]} before, {counts[1]} after\n")
        longest = zip(*(each[:SHOWN] for each in found), strict=False)
        parts.append(
            table((f"longest {what} before", "after"), [(f"{a[0]} {a[1]}", f"{b[0]} {b[1]}") for a, b in longest])
        )
    return "\n".join(parts)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--touched", action="append", default=[], metavar="COMMIT", help="list the files it changed")
    given = parser.parse_args()
    print(compare(CodeSize.at(given.before), CodeSize.at(given.after)))
    for commit in given.touched:
        title, *files = git("show", "--name-only", "--format=%h %s", commit).split("\n")
        names = list(filter(None, files))
        print(f"{title}: {len(names)} files\n\n" + "\n".join(f"- {name}" for name in names) + "\n")
