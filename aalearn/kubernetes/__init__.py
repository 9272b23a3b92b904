"""Pods: manifests annotated without touching another byte, checked as the API would, applied to clusters; profiles
exported for them. Knows nothing of lifecycle."""
