"""A platform is one class: what it needs of the graph follows from registering it, with no other change."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from twin_assets.collection.events import Found, Item, ListingComplete
    from twin_assets.collection.registry import register
    from twin_assets.documents import AuthorProfile, Category, Consent, Source

    @register
    class DiaryCrawler:
        platform = "diary"
        accepted = "a text file that ends in .diary"
        options = {}

        def accepts(self, where):
            return where.endswith(".diary")

        def collect(self, source, state, http):
            for day, text in enumerate(Path(source.where).read_text().split("---")):
                yield Found(Item(external_id=str(day), content=text, category=Category.POST, title=f"Day {day}"))
            yield ListingComplete()

    import dagster as dg
    from twin_assets.collection.sensors import crawl_due
    from twin_assets.definitions import defs
    from twin_assets.orchestration.partitions import add_partitions
    from twin_assets.operations.sources import add_source
    from twin_assets.stores import open_stores

    stores = open_stores()
    stores.warehouse.profiles.add(AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada")))
    source = add_source(stores, "ada", "diary", sys.argv[1], cron="0 6 * * *")
    stores.warehouse.crawl_requests.add("ada", source.id)
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada"], [])
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        context = dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def())
        (request,) = crawl_due.evaluate_tick(context).run_requests
    crawled = defs.resolve_job_def(request.job_name).execute_in_process(partition_key="ada", instance=instance)
    made = defs.resolve_job_def("features").execute_in_process(partition_key="ada", instance=instance)
    graph = defs.resolve_asset_graph()
    print(json.dumps({
        "job": request.job_name,
        "ran": crawled.success and made.success,
        "above": [key.to_user_string() for key in graph.get(dg.AssetKey("cleaned_documents")).parent_keys],
        "documents": sorted(row["title"] for row in stores.features.table("ada", "cleaned_documents").rows(["title"])),
        "chunks": stores.features.table("ada", "embeddings").count(),
    }))
""")


def test_a_registered_class_has_its_asset_its_sensor_and_everything_downstream(tmp_path):
    diary = tmp_path / "my.diary"
    diary.write_text(
        "---".join(f"On day {day} the gauge read {day * 7} and I walked to the pier. " * 4 for day in range(5))
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "DAGSTER_HOME": str(tmp_path),
        "TWIN_DATA_DIR": str(tmp_path / "data"),
        "TWIN_DAGSTER_DIR": str(tmp_path / "data" / "dagster"),
    }
    command = [sys.executable, "-c", SCRIPT, str(diary)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["job"], found["ran"]) == ("collect_diary", True)
    assert "raw/diary" in found["above"]
    assert found["documents"] == [f"Day {day}" for day in range(5)]
    assert found["chunks"] == 5
