"""Which files contain writing, by their names: code with its language, markdown, HTML."""

from pathlib import PurePosixPath

MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".txt", ".text", ".rst"})
HTML = frozenset({".html", ".htm", ".xhtml"})
CODE: dict[str, str] = {
    ".py": "python", ".pyi": "python", ".sh": "shell", ".bash": "shell", ".c": "c", ".h": "c", ".cc": "c++",
    ".cpp": "c++", ".hpp": "c++", ".rs": "rust", ".go": "go", ".java": "java", ".kt": "kotlin", ".js": "javascript",
    ".mjs": "javascript", ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript", ".rb": "ruby", ".pl": "perl",
    ".php": "php", ".swift": "swift", ".scala": "scala", ".clj": "clojure", ".ex": "elixir", ".erl": "erlang",
    ".hs": "haskell", ".ml": "ocaml", ".lisp": "lisp", ".el": "emacs lisp", ".scm": "scheme", ".lua": "lua", ".r": "r",
    ".jl": "julia", ".sql": "sql", ".css": "css", ".scss": "css", ".vim": "vim script", ".asm": "assembly",
    ".s": "assembly", ".awk": "awk", ".bat": "batch", ".ps1": "powershell", ".tf": "terraform", ".zig": "zig",
    ".d": "d", ".nim": "nim", ".dart": "dart", ".m": "objective-c", ".f90": "fortran", ".pas": "pascal",
    ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".mk": "make", ".cmake": "cmake",
}  # fmt: skip
CODE_NAMES = {"makefile": "make", "dockerfile": "docker", "gnumakefile": "make", "rakefile": "ruby"}
SHEBANGS = {
    "python": "python", "bash": "shell", "sh": "shell", "perl": "perl", "ruby": "ruby", "awk": "awk",
    "node": "javascript",
}  # fmt: skip


COMMENTS: dict[str, tuple[tuple[str, ...], tuple[str, str] | None]] = {
    **dict.fromkeys(
        ("c", "c++", "rust", "go", "java", "kotlin", "javascript", "typescript", "swift", "scala", "css", "objective-c",
         "zig", "d", "dart"),
        (("//",), ("/*", "*/")),
    ),
    **dict.fromkeys(
        ("python", "shell", "ruby", "perl", "r", "elixir", "make", "docker", "toml", "yaml", "awk", "tcl"),
        (("#",), None),
    ),
    **dict.fromkeys(("lisp", "emacs lisp", "scheme", "clojure"), ((";",), ("#|", "|#"))),
    "assembly": ((";", "#", "//"), ("/*", "*/")), "batch": (("rem", "::"), None), "cmake": (("#",), ("#[[", "]]")),
    "erlang": (("%",), None), "fortran": (("!",), None), "haskell": (("--",), ("{-", "-}")),
    "julia": (("#",), ("#=", "=#")), "lua": (("--",), ("--[[", "]]")), "nim": (("#",), ("#[", "]#")),
    "ocaml": ((), ("(*", "*)")), "pascal": (("//",), ("{", "}")), "php": (("//", "#"), ("/*", "*/")),
    "powershell": (("#",), ("<#", "#>")), "sql": (("--",), ("/*", "*/")), "terraform": (("#", "//"), ("/*", "*/")),
    "vim script": (('"',), None),
}  # fmt: skip
"""By language: what line comments begin with, and how a block comment, if there is one, begins and ends."""


def code_language(name: str, text: str = "") -> str | None:
    """The programming language of a file, by its name, or else by its shebang; None for a file that is not code."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in CODE:
        return CODE[suffix]
    if path.name.lower() in CODE_NAMES:
        return CODE_NAMES[path.name.lower()]
    if not suffix and text.startswith("#!"):
        first = text.partition("\n")[0]
        return next((language for program, language in SHEBANGS.items() if program in first), "shell")
    return None
