"""LinkedIn: its API, its change log, and the export that members can ask for."""

from twin_assets.collection.platforms.linkedin.crawler import LinkedInCrawler

__all__ = ["LinkedInCrawler"]
