"""The Security Profiles Operator (SPO): a learned profile as its AppArmorProfile object, and what it makes of that.

Its abstract form can't say much that a profile can; so what is lost is listed, what is granted beyond is counted, and
its own rendering of the object is compiled and asked for every learned event.
"""
