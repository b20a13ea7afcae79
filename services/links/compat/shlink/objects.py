"""What Shlink's answers are made of: short URLs, visits, domains, and the numbers of visits."""

from urllib.parse import unquote, urlsplit

from services.links.compat.shlink.agents import typical_agent
from services.links.compat.shlink.countries import locate
from services.links.compat.shlink.dates import write_date
from services.links.domains.rows import DomainRow
from services.links.links.rows import LinkRow
from services.links.site import Site
from services.links.stats.visits import Visit
from shared.api import UNKNOWN
from shared.records import LinkKey

Json = dict[str, object]

DIRECT = "direct"


def summary(clicks: int, humans: int) -> Json:
    return {"total": clicks, "nonBots": humans, "bots": clicks - humans}


def address(key: LinkKey, site: Site) -> str:
    """A short URL. Its code is as one reads it, not percent-encoded."""
    return unquote(site.short_url(key))


def authority(domain: str, site: Site) -> str:
    """A domain as Shlink names it: with its port, if short URLs have one, because clients call it by this name."""
    return urlsplit(site.short_url((domain, ""))).netloc


def short_url(row: LinkRow, site: Site) -> Json:
    """Write a link as Shlink's ShortUrl."""
    fields = row.fields
    return {
        "shortUrl": address(row.key, site),
        "shortCode": row.code,
        "longUrl": fields.url_as_given,
        "dateCreated": write_date(row.created_at),
        "tags": list(fields.tags),
        "meta": {
            "validSince": write_date(fields.valid_from),
            "validUntil": write_date(fields.expires_at),
            "maxVisits": fields.max_clicks,
        },
        "domain": None if row.domain == site.default_domain else authority(row.domain, site),
        "title": fields.title,
        "crawlable": fields.crawlable,
        "forwardQuery": fields.forward_query,
        "visitsSummary": summary(row.clicks, row.humans),
        "hasRedirectRules": fields.rules is not None,
    }


def visit(found: Visit, visited: str | None, target: str | None) -> Json:
    """Write a click as Shlink's Visit.

    Args:
        found: The click. Of its agent and its address no more is kept than what they tell.
        visited: The short URL.
        target: Where it led; None where the link decides, because that was not kept.
    """
    dimensions = found.dimensions
    referrer = dimensions.referrer
    return {
        "referer": "" if referrer in (DIRECT, UNKNOWN) else f"https://{referrer}",
        "date": write_date(found.clicked_at),
        "userAgent": typical_agent(dimensions.browser, dimensions.os, dimensions.device, is_bot=found.is_bot),
        "visitLocation": locate(dimensions.country),
        "potentialBot": found.is_bot,
        "visitedUrl": visited or "",
        "redirectUrl": target,
    }


def redirects(row: DomainRow | None) -> Json:
    """Where visitors of a domain go who follow no short URL. A path that is none leads to the page for errors."""
    return {
        "baseUrlRedirect": None if row is None else row.root_url,
        "regular404Redirect": None,
        "invalidShortUrlRedirect": None if row is None else row.not_found_url,
    }
