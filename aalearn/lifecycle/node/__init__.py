"""The machine: its policy files, its kernel, its tasks, and the one function that changes them. All I/O stands here.

`Machine` names the places; `applier.apply` changes one profile (file, links, kernel) wholly or not at all; `records`
keeps root's own backups and what was applied; `requests` is what the unprivileged service may ask for.
"""
