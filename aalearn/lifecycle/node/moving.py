"""Root's records from where an older aalearn kept them, below the service's own folder, to where only root can write.

The service could plant a folder there and have systemd give it to root. So it is moved only where root alone could have
written it, at every level; else it is left alone and never believed.
"""

import os
from pathlib import Path

from aalearn.lifecycle.node.folder import Folder
from aalearn.model.errors import UsageError
from aalearn.model.text import shown


def moved(old: Path, new: Path) -> str:
    """Move the records, where none are at the new place; return what a person should know, "" for nothing.

    Raises UsageError where the new place is unfit.
    """
    if not os.path.lexists(old):
        return ""
    there = f"records of changes in {shown(str(old))}"
    try:
        with Folder.open(old, private=True) as folder:
            for name in folder.names():
                folder.read(name)  # refuses what is another's
    except UsageError as error:
        return f"there are {there} that are not believed: {error}; look at them and remove them"
    with Folder.open(new, private=True, make=True) as folder:
        if set(folder.names()) - {"lock"}:
            return ""
        folder.remove("lock")
    try:
        old.rename(new)  # over the empty folder, at once; every folder on both ways is root's alone
    except OSError as error:
        return f"there are {there} that can't be moved to {shown(str(new))}: {error.strerror}"
    return f"the {there} are now in {shown(str(new))}"
