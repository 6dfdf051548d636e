"""The size of the three packages: lines of code, files of the fullest folder, arguments of the widest function.

    python -m benchmarks.size [FOLDER]

FOLDER is a checkout, by default this one. A line of code is one that is not blank, a comment or part of a docstring.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

PACKAGES = ("songbag_store", "songbag_pipeline", "songbag_training")
_NO_CODE = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
)


def main() -> None:
    """Print the figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    paths = [path for name in PACKAGES for path in (root / name.removeprefix("songbag_") / name).rglob("*.py")]
    folder, n_files = Counter(path.parent for path in paths).most_common(1)[0]
    n_arguments, widest = max((n, f"{path.name}: {name}") for path in paths for n, name in arguments(path.read_text()))
    for name in PACKAGES:
        print(
            f"{name:18} {sum(lines_of_code(path.read_text()) for path in paths if name in path.parts):6,} lines of code"
        )
    print(f"{'together':18} {sum(lines_of_code(path.read_text()) for path in paths):6,}")
    print(f"files in the fullest folder: {n_files} ({folder.relative_to(root)})")
    print(f"most arguments of a function: {n_arguments} ({widest})")


def lines_of_code(text: str) -> int:
    """Count the lines that are not blank, comments or docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for line in body if isinstance(body, list) else []:
            if (
                isinstance(line, ast.Expr)
                and isinstance(line.value, ast.Constant)
                and isinstance(line.value.value, str)
            ):
                lines.difference_update(range(line.lineno, (line.end_lineno or line.lineno) + 1))
    return len(lines)


def arguments(text: str) -> list[tuple[int, str]]:
    """Return how many arguments each function takes besides `self` and `cls`, and its name."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            found.append((sum(one.arg not in ("self", "cls") for one in own), node.name))
    return found


if __name__ == "__main__":
    main()
