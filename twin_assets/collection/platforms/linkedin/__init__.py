"""LinkedIn: its API, the change log that it keeps, and the export that members ask for."""

from twin_assets.collection.platforms.linkedin.crawler import LinkedInCrawler

__all__ = ["LinkedInCrawler"]
