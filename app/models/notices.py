"""What stands over and in place of cards: room used, the server, empty and lost, the question."""

from __future__ import annotations

from app.figures import byte_size, shortened
from app.models.phrases import DOT, ago, host
from app.models.state import CatalogueCard, InstalledCard, ModelsState, Reach

__all__ = [
    "catalogue_notice",
    "counted_line",
    "device_notice",
    "question",
    "server_line",
    "storage_line",
]


def device_notice(state: ModelsState) -> tuple[str, str, str] | None:
    """Title, text and button in place of cards, None where there are some."""
    if state.installed is None:
        return "Looking", "The folder of models is being read.", ""
    if state.installed or state.unfinished:
        return None
    drop = "" if "phone" in state.device else ", or drop a .bundle folder or its .zip here"
    return "No models yet", f"Download one from your server{drop}.", ""


def catalogue_notice(state: ModelsState) -> tuple[str, str, str] | None:
    """Title, text and button in place of offers or above remembered ones, None without need."""
    found = state.catalogue
    if found.reach is Reach.NO_SERVER:
        text = (
            "Models come from a companion server of yours. Start one on a computer with "
            "headtail serve MODEL.bundle, then scan or type its pairing code in Settings."
        )
        return "No server yet", text, "Open Settings"
    if found.reach is Reach.LOST and found.problem is not None:
        after = " What it offered last stands below." if found.offers else ""
        return found.problem.what, f"{found.problem.remedy}{after}", ""
    if found.offers:
        return None
    if found.reach is Reach.ASKING:
        return "Asking the server", "It answers at once when it is there.", ""
    return "Nothing to download", "The server holds no bundle: headtail serve MODEL.bundle", ""


def storage_line(state: ModelsState) -> str:
    """How much of the room for models is taken."""
    return f"{byte_size(state.used)} of {byte_size(state.quota)} used"


def counted_line(state: ModelsState) -> str:
    """How many models are here and there."""
    here = len(state.installed or ())
    line = f"{here} on {state.device}"
    offers = len(state.catalogue.offers)
    return f"{line}{DOT}{offers} on the server" if offers else line


def server_line(catalogue: CatalogueCard, now_s: float) -> str:
    """Whether the list is what the server holds now, and if not, of when it is."""
    if catalogue.reach is Reach.LIVE:
        return f"{host(catalogue.server)}{DOT}up to date"
    if catalogue.reach is Reach.ASKING:
        return f"Asking {host(catalogue.server)}"
    if catalogue.reach is Reach.NO_SERVER:
        return "No server is set"
    seen = f"last seen {ago(catalogue.seen_s, now_s)}" if catalogue.seen_s else "never seen"
    return f"{host(catalogue.server)}{DOT}{seen}"


def question(card: InstalledCard) -> tuple[str, str]:
    """Title and text of the question before a bundle is deleted."""
    closed = "It is open now and will be closed. " if card.opened else ""
    again = "It can be downloaded again from a server that holds it."
    return f"Delete {shortened(card.name)}?", f"{closed}This frees {byte_size(card.bytes)}. {again}"
