"""Find slots, deployments and checkpoints by what a person types: a name, or the beginning of a hash.

Knows rows and their names; changes nothing.
"""

from collections.abc import Iterable

from modelserving.models import Checkpoint, Deployment, Slot

FEWEST_HASH_LETTERS = 6


class NotFound(Exception):
    """Nothing has this name, or several things do; the message lists what there is."""


def slot_named(name: str | None) -> Slot:
    """The slot of this name; without a name, the only one."""
    slots = list(Slot.objects.order_by("name"))
    if name is None and len(slots) == 1:
        return slots[0]
    found = next((slot for slot in slots if slot.name == name), None)
    if found is None:
        wanted = f"there is no slot named {name!r}" if name else "name the slot with --slot"
        raise NotFound(f"{wanted}; slots: {_listed(slot.name for slot in slots)}")
    return found


def deployment_named(name: str) -> Deployment:
    """The deployment of exactly this name."""
    found = Deployment.objects.filter(name=name).first()
    if found is None:
        names = Deployment.objects.values_list("name", flat=True)[:20]
        raise NotFound(f"there is no deployment named {name!r}; newest: {_listed(names)}")
    return found


def checkpoint_named(text: str, *, kind: str | None = None) -> Checkpoint:
    """The checkpoint, of a kind where one is given, with this hash, beginning of a hash, or name."""
    known = Checkpoint.objects.filter(kind=kind) if kind else Checkpoint.objects.all()
    if len(text) >= FEWEST_HASH_LETTERS:
        by_hash = list(known.filter(hash__startswith=text)[:2])
        if len(by_hash) == 1:
            return by_hash[0]
    by_name = list(known.filter(name=text)[:2])
    if len(by_name) == 1:
        return by_name[0]
    what = Checkpoint.Kind(kind).label if kind else "checkpoint"
    if by_name:
        hashes = _listed(each.hash[:12] for each in known.filter(name=text).order_by("-pk")[:5])
        raise NotFound(
            f"several are named {text!r}: give the beginning of a hash, newest: {hashes}"
        )
    newest = [str(each) for each in known.order_by("-pk")[:10]]
    raise NotFound(f"there is no {what} {text!r}; newest: {_listed(newest)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
