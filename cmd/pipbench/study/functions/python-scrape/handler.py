"""Reads headings and links from a page."""
from bs4 import BeautifulSoup


def handler(event, context):
    page = BeautifulSoup(event["page"], "html.parser")
    return {"title": page.title.string, "headings": [h.get_text(strip=True) for h in page.find_all(["h1", "h2"])],
            "links": sorted({a["href"] for a in page.find_all("a", href=True)})}
