"""URLs as people may see them: without the passwords in them."""

import re
from typing import Final
from urllib.parse import unquote_plus

# The user ends at the first colon, the password at the last @: it may hold any character, written as it is.
_USER: Final = re.compile(r"^([^:/]*:(?://)?[^:/@]*):.*@", re.DOTALL)
_FILE: Final = ("sqlite:///", "sqlite+pysqlite:///")
_SECRET: Final = re.compile(r"pass(?!file)|secret|token|scram", re.IGNORECASE)


def without_password(url: str) -> str:
    """Return a store's URL with *** for each password in it; a URL that is wrong shows rather too little."""
    if url.startswith(_FILE):
        return url
    place, mark, query = _without_users(url).partition("?")
    return place + mark + "&".join(map(_option, query.split("&")))


def _without_users(url: str) -> str:
    found = _USER.match(url)
    if found is None:
        return url
    rest = url[found.end() :]
    last = re.split("[?&]", found[0])[-1]
    if _option(last) != last:  # that @ stood in the query, in another password
        rest = "".join(rest.partition("&")[1:])
    return f"{found[1]}:***@{rest}"


def _option(text: str) -> str:
    name, mark, _ = text.partition("=")
    return f"{name}=***" if mark and _SECRET.search(unquote_plus(name)) else text
