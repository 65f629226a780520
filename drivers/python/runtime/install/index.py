"""Asks the package indexes what they have: their simple API (PEP 503, in JSON as PEP 691 has it), with the provenance of PEP 740."""

import base64
import functools
import gzip
import html.parser
import http.client
import io
import json
import os
import ssl
import threading
import urllib.error
import urllib.request
import zlib
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

TIMEOUT = 10  # seconds
MAX_PAGE = 64 << 20  # bytes; the largest have a tenth of it
MAX_ARCHIVE = 256 << 20  # bytes
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


def indexes():
    """The addresses of the indexes, as the driver has given them to uv."""
    return os.environ.get("UV_INDEX", "").split() + [os.environ.get("UV_DEFAULT_INDEX", "https://pypi.org/simple")]


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to another host without the credentials, which are for the first."""

    def redirect_request(self, request, *answer):
        following = super().redirect_request(request, *answer)
        if following is not None and origin(following.full_url) != origin(request.full_url):
            following.remove_header("Authorization")
        return following


def origin(address):
    return urlsplit(address)[:2]


@functools.lru_cache(maxsize=None)
def opener():
    """One for all: to read the certificates takes longer than to ask."""
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()), Redirects())


opening = threading.Lock()


def get(address, accept):
    """Returns a page and its type."""
    with ask(address, {"Accept": accept, "Accept-Encoding": "gzip"}) as answer:
        body = read(answer, MAX_PAGE)
        if answer.headers.get("Content-Encoding") == "gzip":
            with gzip.open(io.BytesIO(body)) as packed:
                body = read(packed, MAX_PAGE)
        return body, answer.headers.get_content_type()


def get_archive(address):
    """Returns an archive as the index has it: a server may call an archive that is gzip itself encoded so."""
    with ask(address, {"Accept-Encoding": "identity"}) as answer:
        return read(answer, MAX_ARCHIVE)


def ask(address, headers):
    """Opens an address. Credentials in it go where they belong."""
    parts = urlsplit(address)
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    with opening:
        one = opener()
    return one.open(urllib.request.Request(urlunsplit(parts), headers=headers), timeout=TIMEOUT)


def read(stream, limit):
    """Reads all of a stream. Whatever is wrong with it is an OSError."""
    try:
        body = stream.read(limit + 1)
    except (http.client.HTTPException, zlib.error, EOFError) as error:
        raise OSError(f"what the index sends is damaged: {error!r}") from None
    if len(body) > limit:
        raise OSError(f"what the index sends is larger than {limit >> 20} MiB")
    if getattr(stream, "length", None):  # of an answer: what of it did not come
        raise OSError("the index broke off in the middle of its answer")
    return body


def find(package, only_with=b""):
    """Returns the archives of the package's lock that the indexes have: each with name, url, digest and the address of its provenance, if it has one.
    A page without the text only_with is not read: some have thousands of files."""
    found = []
    for index in indexes():
        page = index.rstrip("/") + f"/{package['name']}/"
        try:
            body, kind = get(page, ACCEPT)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue
            raise
        for file in files_of(body, kind) if only_with in body else ():
            if file["digest"] in package["archives"]:
                url = with_credentials(urljoin(page, file["url"]), page)
                found.append({"name": file["name"], "url": url, "digest": file["digest"], "provenance": file["provenance"] and with_credentials(urljoin(page, file["provenance"]), page)})
        if found or only_with not in body:
            break
    return found


def with_credentials(url, page):
    """An index's own files are behind the same credentials as its pages; those elsewhere are not to see them."""
    mine, theirs = urlsplit(url), urlsplit(page)
    if mine.username is None and theirs.username is not None and (mine.scheme, mine.netloc) == (theirs.scheme, theirs.netloc.rpartition("@")[2]):
        mine = mine._replace(netloc=theirs.netloc)
    return urlunsplit(mine)


def files_of(body, kind):
    if kind.endswith("json"):
        try:
            yield from files_of_json(json.loads(body))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"its page is not as PEP 691 has it: {error!r}") from None
        return
    reader = Anchors()
    reader.feed(body.decode("utf-8", "replace"))
    for attributes in reader.found:
        url, fragment = urldefrag(attributes.get("href") or "")
        name = unquote(url.rpartition("/")[2])
        yield {"name": name, "url": url, "digest": fragment.replace("=", ":", 1), "provenance": attributes.get("data-provenance")}


def files_of_json(page):
    for file in page["files"]:
        for algorithm in ("sha256", "sha512"):
            if algorithm in file["hashes"]:
                yield {"name": str(file["filename"]), "url": str(file["url"]), "digest": f"{algorithm}:{file['hashes'][algorithm]}", "provenance": file.get("provenance")}


class Anchors(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found.append(dict(attributes))
