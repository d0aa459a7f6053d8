"""The README names what there is."""

import re
from pathlib import Path

from twin_assets.cli.main import main
from twin_assets.collection.registry import crawlers
from twin_assets.language.base_models import recipe_files
from twin_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_every_setting_recipe_and_platform_stands_in_the_readme(settings):
    names = {"MONGODB_URI" if name == "mongodb_uri" else f"TWIN_{name.upper()}" for name in Settings.model_fields}
    assert not {name for name in names if f"| `{name}` |" not in README}
    assert not {name for name in recipe_files(settings) if f"| `{name}` |" not in README}
    assert not {name for name in crawlers() if f"| `{name}` |" not in README}


def test_every_command_in_the_readme_exists():
    commands = set(re.findall(r"(?:\.venv/bin/|`)twin (\w+)", README))
    assert len(commands) >= 6
    assert commands <= main.commands.keys()


def test_every_file_that_the_readme_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_setting_says_what_it_does():
    assert not [name for name, field in Settings.model_fields.items() if not field.description]
